//! The habits of the public API, read from the descriptors (buf STANDARD, AIP-131, AIP-155, AIP-158).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto};
use quorate_proto::pb::FILE_DESCRIPTOR_SET;

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().filter(|file| file.package() == "quorate.v1").collect()
}

fn methods() -> Vec<MethodDescriptorProto> {
    files().into_iter().flat_map(|file| file.service).flat_map(|service| service.method).collect()
}

fn message(type_name: &str) -> DescriptorProto {
    let name = type_name.trim_start_matches(".quorate.v1.");
    let mut all = files().into_iter().flat_map(|file| file.message_type);
    all.find(|message| message.name() == name).unwrap()
}

fn has(message: &DescriptorProto, field: &str) -> bool {
    message.field.iter().any(|f| f.name() == field)
}

#[test]
fn there_is_one_service_for_each_noun() {
    let names: BTreeSet<String> = files()
        .into_iter()
        .flat_map(|file| file.service)
        .map(|service| service.name().to_owned())
        .collect();
    let nouns =
        ["Agents", "Automation", "Charters", "Log", "Proposals", "Quorum", "Status", "Votes"];
    assert_eq!(names, nouns.map(str::to_owned).into());
}

#[test]
fn every_method_has_a_request_and_a_response_of_its_own() {
    for method in methods() {
        assert_eq!(method.input_type(), format!(".quorate.v1.{}Request", method.name()));
        assert_eq!(method.output_type(), format!(".quorate.v1.{}Response", method.name()));
    }
}

#[test]
fn every_enum_begins_with_unspecified_and_repeats_its_name_in_its_values() {
    for values in files().into_iter().flat_map(|file| file.enum_type) {
        let prefix = screaming(values.name());
        assert_eq!(values.value[0].number(), 0);
        assert_eq!(values.value[0].name(), format!("{prefix}_UNSPECIFIED"));
        for value in &values.value {
            assert!(value.name().starts_with(&format!("{prefix}_")), "{}", value.name());
        }
    }
}

#[test]
fn a_list_that_can_be_long_has_pages() {
    for method in methods().iter().filter(|method| method.name().starts_with("List")) {
        let (request, response) = (message(method.input_type()), message(method.output_type()));
        let paged = has(&request, "page_size");
        assert_eq!(paged, has(&request, "page_token"), "{}", request.name());
        assert_eq!(paged, has(&response, "next_page_token"), "{}", response.name());
        // Bounded by the charter or by the number of operators' texts in force.
        let bounded = ["Actions", "Budgets", "Coordinators", "Facts", "Overrides", "Pauses"];
        assert_eq!(
            !paged,
            bounded.iter().any(|noun| method.name().ends_with(noun)),
            "{}",
            method.name()
        );
    }
}

#[test]
fn every_read_says_how_current_it_must_be_and_how_current_it_was() {
    let reads = |name: &str| name.starts_with("Get") || name.starts_with("List");
    for method in methods().iter().filter(|method| reads(method.name())) {
        assert!(has(&message(method.input_type()), "consistency"), "{}", method.name());
        assert!(has(&message(method.output_type()), "read"), "{}", method.name());
    }
}

#[test]
fn every_signed_change_carries_a_request_id() {
    // A fact is deduplicated by its agent's sequence.
    for method in methods().iter().filter(|method| method.name() != "Observe") {
        let request = message(method.input_type());
        if has(&request, "note") || has(&request, "text") {
            assert!(has(&request, "request_id"), "{}", request.name());
            assert!(has(&message(method.output_type()), "applied_index"), "{}", method.name());
        }
    }
}

fn screaming(camel: &str) -> String {
    let mut out = String::new();
    for (at, character) in camel.char_indices() {
        if at > 0 && character.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_uppercase());
    }
    out
}
