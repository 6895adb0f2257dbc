//! The decision log as C2SP tlog-tiles: a checkpoint and static tiles that any reader can check.

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use quorate_attest::{
    number::TreeSize,
    tiles::{Tile, TileKind, write_bundle},
};
use quorate_store::LeavesView;

use super::HttpState;

/// A full tile never changes; a partial one is replaced by a larger one.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const FOR_A_MOMENT: &str = "no-cache";

/// The newest certified head.
pub(super) async fn checkpoint(State(state): State<HttpState>) -> Response {
    let certified = state.signer.certified().borrow().clone();
    match certified {
        Some(certified) => {
            let headers = [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::CACHE_CONTROL, FOR_A_MOMENT),
            ];
            (headers, certified.head.to_bytes()).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no head is certified yet\n").into_response(),
    }
}

/// A tile of hashes or a bundle of entries, as far as it is certified.
pub(super) async fn tile(State(state): State<HttpState>, Path(path): Path<String>) -> Response {
    let Ok(tile) = format!("tile/{path}").parse::<Tile>() else {
        return (StatusCode::BAD_REQUEST, "this is no tile path\n").into_response();
    };
    let certified = state.signer.certified().borrow().as_ref().map_or(0, |head| head.size);
    let size = TreeSize::new(certified).unwrap_or(TreeSize::MIN);
    if !tile.is_in(size) {
        return (StatusCode::NOT_FOUND, "the certified log has no such tile\n").into_response();
    }
    let Ok(view) = state.handle.leaves().view() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the store is closed\n").into_response();
    };
    match tokio::task::spawn_blocking(move || read(&tile, &view)).await {
        Ok(Some(bytes)) => {
            let cache = if tile.width() == 256 { FOR_EVER } else { FOR_A_MOMENT };
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, cache),
            ];
            (headers, bytes).into_response()
        }
        Ok(None) | Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the tile cannot be read\n").into_response()
        }
    }
}

fn read(tile: &Tile, view: &LeavesView) -> Option<Vec<u8>> {
    match tile.kind() {
        TileKind::Hashes { .. } => tile.read_hashes(view)?.ok(),
        TileKind::Entries => {
            let end = tile.start() + u64::from(tile.width());
            let mut entries = Vec::new();
            while tile.start() + entries.len() as u64 != end {
                let from = tile.start() + entries.len() as u64;
                let part = view.range(from..end, usize::MAX).ok()?;
                if part.is_empty() {
                    return None;
                }
                entries.extend(part.into_iter().map(|(_, entry)| entry));
            }
            write_bundle(entries.iter().map(Vec::as_slice)).ok()
        }
    }
}
