//! Pages and the files that they need, from `ui/`: all are in the binary, nothing is loaded from elsewhere.

use crate::wire::reply::Reply;
use crate::wire::routes::File;

/// Only this daemon's own files are loaded and run. Swagger UI sets styles in attributes and has its icons in `data:`
/// addresses.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same for the status page, which needs fewer permissions.
const STATUS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                             base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn reply(file: File) -> Reply {
    const STYLE: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    match file {
        File::Status => whole("text/html; charset=utf-8", include_bytes!("../ui/status.html"))
            .with("Content-Security-Policy", STATUS_POLICY)
            .with("Referrer-Policy", "no-referrer"),
        File::StatusStyle => whole(STYLE, include_bytes!("../ui/status.css")),
        File::StatusScript => whole(SCRIPT, include_bytes!("../ui/status.js")),
        File::Docs => whole("text/html; charset=utf-8", include_bytes!("../ui/docs.html"))
            .with("Content-Security-Policy", DOCS_POLICY)
            .with("Referrer-Policy", "no-referrer"),
        File::DocsScript => whole(SCRIPT, include_bytes!("../ui/docs.js")),
        File::SwaggerStyle => compressed(STYLE, include_bytes!("../ui/swagger/swagger-ui.css.gz")),
        File::SwaggerScript => compressed(SCRIPT, include_bytes!("../ui/swagger/swagger-ui-bundle.js.gz")),
    }
}

fn whole(kind: &'static str, content: &'static [u8]) -> Reply {
    Reply::json(200, content)
        .with("Content-Type", kind)
        .with("Cache-Control", "no-cache")
        .with("X-Content-Type-Options", "nosniff")
}

/// Stored as gzip, which every browser accepts.
fn compressed(kind: &'static str, content: &'static [u8]) -> Reply {
    whole(kind, content).with("Content-Encoding", "gzip")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn no_page_loads_anything_from_elsewhere() {
        for file in [File::Docs, File::DocsScript, File::Status, File::StatusStyle, File::StatusScript] {
            let text = String::from_utf8(reply(file).body().to_vec()).unwrap();
            assert!(
                !text.contains("//cdn")
                    && !text.replace("http://www.w3.org/2000/svg", "").contains("http:")
                    && !text.contains("https:"),
                "{text}"
            );
        }
    }

    #[test]
    fn compressed_files_can_be_decompressed() {
        for file in [File::SwaggerStyle, File::SwaggerScript] {
            let reply = reply(file);
            let mut text = String::new();
            flate2::read::GzDecoder::new(reply.body()).read_to_string(&mut text).unwrap();
            assert!(text.contains("swagger"));
            assert!(reply.headers().contains(&("Content-Encoding", "gzip".into())));
        }
    }
}
