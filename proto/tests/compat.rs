//! No field number, name or type ever changes: what stands in `wire.txt` stays.
//!
//! `UPDATE_WIRE=1 cargo test -p quorate-proto --test compat` adds what is new and never removes or
//! changes a line. It stands in for `buf breaking`, and a reviewer can read it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};
use quorate_proto::pb::FILE_DESCRIPTOR_SET;

#[test]
fn nothing_that_was_on_the_wire_changes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire.txt");
    let committed: BTreeSet<String> =
        std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    let present = wire(&FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap());

    let broken: Vec<&String> = committed.difference(&present).collect();
    assert!(
        broken.is_empty(),
        "these lines no longer hold, old programs would misread: {broken:#?}"
    );

    let new: Vec<&String> = present.difference(&committed).collect();
    if std::env::var_os("UPDATE_WIRE").is_some() {
        let text: String = present.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(new.is_empty(), "run with UPDATE_WIRE=1 to promise these too: {new:#?}");
    }
}

#[test]
fn a_changed_number_type_label_or_removed_field_is_noticed() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let before = wire(&set);
    let changes: [fn(&mut FieldDescriptorProto); 4] = [
        |field| field.number = Some(field.number() + 1_000),
        |field| {
            field.set_type(if field.r#type() == Type::Bytes { Type::String } else { Type::Bytes })
        },
        |field| {
            let repeated = field.label() == Label::Repeated;
            field.set_label(if repeated { Label::Optional } else { Label::Repeated });
        },
        |field| field.name = Some("renamed".to_owned()),
    ];
    for change in changes {
        let mut changed = set.clone();
        let message = changed
            .file
            .iter_mut()
            .find(|file| file.name() == "quorate/v1/vote.proto")
            .map(|file| &mut file.message_type[0])
            .unwrap();
        change(&mut message.field[0]);
        assert_eq!(before.difference(&wire(&changed)).count(), 1);
    }
}

/// One line for each field, enum value and method of ours.
fn wire(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("quorate.")) {
        for message in &file.message_type {
            message_lines(file.package(), message, &mut lines);
        }
        for values in &file.enum_type {
            enum_lines(file.package(), values, &mut lines);
        }
        for service in &file.service {
            service_lines(file.package(), service, &mut lines);
        }
    }
    lines
}

fn message_lines(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let scope = format!("{scope}.{}", message.name());
    for field in &message.field {
        let oneof =
            field.oneof_index.and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?));
        lines.insert(field_line(&scope, field, oneof.map_or("", |oneof| oneof.name())));
    }
    for nested in &message.nested_type {
        message_lines(&scope, nested, lines);
    }
    for values in &message.enum_type {
        enum_lines(&scope, values, lines);
    }
}

fn field_line(scope: &str, field: &FieldDescriptorProto, oneof: &str) -> String {
    let label = format!("{:?}", field.label()).to_lowercase();
    let kind = format!("{:?}", field.r#type()).to_lowercase();
    format!(
        "field {scope} {} {} {label} {kind}{}{}",
        field.number(),
        field.name(),
        field.type_name.as_deref().map(|name| format!(" {name}")).unwrap_or_default(),
        if oneof.is_empty() { String::new() } else { format!(" oneof {oneof}") },
    )
}

fn enum_lines(scope: &str, values: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &values.value {
        lines.insert(format!(
            "value {scope}.{} {} {}",
            values.name(),
            value.number(),
            value.name()
        ));
    }
}

fn service_lines(scope: &str, service: &ServiceDescriptorProto, lines: &mut BTreeSet<String>) {
    for method in &service.method {
        let stream = |streaming| if streaming { "stream " } else { "" };
        lines.insert(format!(
            "method {scope}.{}/{} {}{} {}{}",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            method.input_type(),
            stream(method.server_streaming()),
            method.output_type(),
        ));
    }
}
