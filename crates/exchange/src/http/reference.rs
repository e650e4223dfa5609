//! The description of the API as one page to read: HTML without a script, a font or a request
//! to anybody. It shows what the JSON says and adds nothing.

use std::fmt::Write;

use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code,.path{font-family:ui-monospace,monospace;font-size:.9em}\
h2{margin-top:3rem;border-bottom:1px solid #8888}h3{margin-top:2rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;\
padding:.2rem .8rem .2rem 0;border-top:1px solid #8883}\
.method{display:inline-block;min-width:4.5em;font-weight:700}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}a{color:#8bf}}";

/// The page.
pub(super) fn page(document: &OpenApi) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut html = String::new();
    let title = text(&document["info"]["title"]);
    // Writing into a string can't fail.
    let _ = write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}: API</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style>\
         <h1>{title}, API of version {}</h1>{}\
         <p>For programs: <a href=\"/v1/openapi.json\">openapi.json</a></p>",
        text(&document["info"]["version"]),
        paragraphs(&document["info"]["description"]),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let _ = write!(html, "<h2>{}</h2>", text(&tag["description"]));
        for (path, method, operation) in operations(&document) {
            if operation["tags"][0] == tag["name"] {
                write_operation(&mut html, path, method, operation);
            }
        }
    }
    let _ = write!(html, "<h2>Bodies</h2>");
    for (name, schema) in object(&document["components"]["schemas"]) {
        write_schema(&mut html, name, schema);
    }
    html.push_str("</html>\n");
    html
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    object(&document["paths"]).flat_map(|(path, item)| {
        object(item).map(move |(method, operation)| (path, method, operation))
    })
}

fn write_operation(html: &mut String, path: &str, method: &str, operation: &Value) {
    let name = text(&operation["operationId"]);
    let _ = write!(
        html,
        "<h3 id=\"{name}\"><span class=method>{}</span> <span class=path>{}</span></h3>\
         <p><strong>{}</strong></p>{}",
        method.to_uppercase(),
        escaped(path),
        text(&operation["summary"]),
        paragraphs(&operation["description"]),
    );
    // An operation that says so itself needs no token; else the document's word holds.
    if operation["security"].is_array() {
        html.push_str("<p>No token is needed.</p>");
    }
    html.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let _ = write!(
            html,
            "<tr><td>{} <code>{}</code><td>{}<td>{}",
            text(&parameter["in"]),
            text(&parameter["name"]),
            kind(&parameter["schema"]),
            marked(&parameter["description"]),
        );
    }
    if let Some((media, body)) = object(&operation["requestBody"]["content"]).next() {
        let _ = write!(html, "<tr><td>body<td>{}<td>{}", kind(&body["schema"]), escaped(media));
    }
    for (status, answer) in object(&operation["responses"]) {
        let content = object(&answer["content"]).next();
        let body = content.map(|(_, body)| kind(&body["schema"])).unwrap_or_default();
        let said = marked(&answer["description"]);
        let _ = write!(html, "<tr><td>answer {}<td>{body}<td>{said}", escaped(status));
    }
    html.push_str("</table>");
}

fn write_schema(html: &mut String, name: &str, schema: &Value) {
    let name = escaped(name);
    let _ = write!(
        html,
        "<h3 id=\"{name}\"><code>{name}</code></h3>{}<p>{}</p>",
        paragraphs(&schema["description"]),
        kind_without_name(schema),
    );
    if !schema["properties"].is_object() {
        return;
    }
    let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
    html.push_str("<table>");
    for (field, of) in object(&schema["properties"]) {
        let optional = if required.iter().any(|name| *name == field) { "" } else { ", optional" };
        let _ = write!(
            html,
            "<tr><td><code>{}</code><td>{}{optional}<td>{}",
            escaped(field),
            kind(of),
            marked(&of["description"]),
        );
    }
    html.push_str("</table>");
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let name = escaped(name.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    kind_without_name(schema)
}

fn kind_without_name(schema: &Value) -> String {
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            let kinds: Vec<String> = all.iter().map(kind).collect();
            return kinds.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("<code>{}</code>", text(value))).collect();
        return values.join(", ");
    }
    if schema["items"].is_object() {
        return format!("array of {}", kind(&schema["items"]));
    }
    let mut kind = match &schema["type"] {
        Value::Array(types) => {
            let types: Vec<String> = types.iter().map(text).collect();
            types.join(" or ")
        }
        other => text(other),
    };
    if let Some(pattern) = schema["pattern"].as_str() {
        let _ = write!(kind, " <code>{}</code>", escaped(pattern));
    }
    kind
}

/// Paragraphs of a description.
fn paragraphs(description: &Value) -> String {
    let description = description.as_str().unwrap_or_default();
    let all = description.split("\n\n").filter(|paragraph| !paragraph.is_empty());
    all.map(|paragraph| format!("<p>{}</p>", with_marks(paragraph))).collect()
}

fn marked(description: &Value) -> String {
    with_marks(description.as_str().unwrap_or_default())
}

/// The two marks that our comments use: `code` and **weight**.
fn with_marks(source: &str) -> String {
    let mut html = String::new();
    for (number, part) in escaped(source).split('`').enumerate() {
        if number % 2 == 1 {
            let _ = write!(html, "<code>{part}</code>");
            continue;
        }
        for (number, part) in part.split("**").enumerate() {
            let tag = if number % 2 == 1 { "strong" } else { "span" };
            let _ = write!(html, "<{tag}>{part}</{tag}>");
        }
    }
    html
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields: Option<&Map<String, Value>> = value.as_object();
    fields.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text),
        Value::Null => String::new(),
        other => escaped(&other.to_string()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::described_routes;
    use super::*;

    #[test]
    fn the_page_shows_every_route_and_body_and_asks_nobody() {
        let document = described_routes().1;
        let page = page(&document);
        let document = serde_json::to_value(&document).unwrap();
        for (_, _, operation) in operations(&document) {
            let id = format!("id=\"{}\"", operation["operationId"].as_str().unwrap());
            assert_eq!(page.matches(&id).count(), 1, "{id}");
        }
        for (name, _) in object(&document["components"]["schemas"]) {
            assert!(page.contains(&format!("<h3 id=\"{name}\">")), "{name}");
        }
        for foreign in ["href=\"http", "<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn marks_are_turned_and_the_rest_is_harmless() {
        let html = with_marks("a < `b & c` **d**");
        assert_eq!(
            html,
            "<span>a &lt; </span><code>b &amp; c</code><span> </span><strong>d</strong><span></span>"
        );
    }
}
