//! `GET /openapi.yaml`, and `GET /docs`: the same for reading in a browser, without any asset from elsewhere.

use std::fmt::Write;

use actix_web::{HttpResponse, http::header, web};
use serde_json::{Map, Value};

use super::{
    api::Api,
    call::Answer,
    html::{self, escaped},
    openapi::{document, openapi_yaml},
    problem::Problem,
};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    h2{margin-top:2.5rem;border-bottom:1px solid #ccc}h3{margin:2rem 0 .3rem}code,pre{font-family:ui-monospace,monospace}\
    pre{background:#f4f4f4;padding:.6rem;overflow:auto}table{border-collapse:collapse;width:100%}\
    td,th{border:1px solid #ddd;padding:.25rem .5rem;text-align:left;vertical-align:top}\
    .m{background:#234;color:#fff;padding:.1rem .5rem;border-radius:3px;margin-right:.5rem}";

/// The description of the API.
#[utoipa::path(
    get, path = "/openapi.yaml", tag = "Service", operation_id = "readDescription", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/yaml", body = Value))
)]
pub async fn yaml(_: web::Data<Api>) -> Answer {
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/yaml")).body(openapi_yaml()))
}

/// The description of the API, readable in a browser.
#[utoipa::path(
    get, path = "/docs", tag = "Service", operation_id = "readDocs", security(()),
    responses((status = 200, description = "HTML", content_type = "text/html", body = String))
)]
pub async fn page(_: web::Data<Api>) -> Answer {
    let description = serde_json::to_value(document()).map_err(|_| Problem::internal("no description"))?;
    let mut html = String::new();
    render(&mut html, &description).map_err(|_| Problem::internal("the description cannot be written"))?;
    Ok(html::page(description["info"]["title"].as_str().unwrap_or_default(), STYLE, &html))
}

fn render(html: &mut String, api: &Value) -> std::fmt::Result {
    let title = text(&api["info"]["title"]);
    write!(
        html,
        "<h1>{title} {}</h1><p>{}</p><p><a href=\"/openapi.yaml\">openapi.yaml</a></p><h2>Operations</h2>",
        text(&api["info"]["version"]),
        text(&api["info"]["description"])
    )?;
    for (path, item) in members(&api["paths"]) {
        for (method, operation) in members(item) {
            render_operation(html, path, method, operation)?;
        }
    }
    html.push_str("<h2>Schemas</h2>");
    for (name, schema) in members(&api["components"]["schemas"]) {
        write!(html, "<h3 id=\"{0}\">{0}</h3>", escaped(name))?;
        render_schema(html, schema)?;
    }
    Ok(())
}

fn render_operation(html: &mut String, path: &str, method: &str, operation: &Value) -> std::fmt::Result {
    write!(
        html,
        "<h3><span class=\"m\">{}</span><code>{}</code></h3><p>{} {}</p>",
        escaped(&method.to_uppercase()),
        escaped(path),
        text(&operation["summary"]),
        text(&operation["description"])
    )?;
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>");
        for parameter in parameters {
            write!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                text(&parameter["name"]),
                text(&parameter["in"]),
                kind(&parameter["schema"]),
                text(&parameter["description"])
            )?;
        }
        html.push_str("</table>");
    }
    for (media, content) in members(&operation["requestBody"]["content"]) {
        write!(html, "<p>Body: <code>{}</code> {}</p>", escaped(media), kind(&content["schema"]))?;
    }
    html.push_str("<table><tr><th>Status</th><th>Answer</th><th></th></tr>");
    for (status, response) in members(&operation["responses"]) {
        let is_problem = response["$ref"].is_string();
        let answers: Vec<String> = members(&response["content"])
            .map(|(media, content)| format!("<code>{}</code> {}", escaped(media), kind(&content["schema"])))
            .collect();
        let what = if is_problem { "Problem".to_owned() } else { text(&response["description"]) };
        write!(
            html,
            "<tr><td>{}</td><td>{what}</td><td>{}</td></tr>",
            escaped(status),
            answers.join("<br>")
        )?;
    }
    html.push_str("</table>");
    Ok(())
}

fn render_schema(html: &mut String, schema: &Value) -> std::fmt::Result {
    write!(html, "<p>{}</p>", text(&schema["description"]))?;
    let parts = schema["allOf"].as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(schema));
    html.push_str("<table><tr><th>Field</th><th>Type</th><th></th></tr>");
    for part in parts {
        if part["$ref"].is_string() {
            write!(html, "<tr><td>all of</td><td>{}</td><td></td></tr>", kind(part))?;
        }
        for (name, field) in members(&part["properties"]) {
            write!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                escaped(name),
                kind(field),
                text(&field["description"])
            )?;
        }
    }
    html.push_str("</table>");
    Ok(())
}

/// The type of a schema, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", escaped(name));
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        return alternatives.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if schema["type"] == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    let format = schema["format"].as_str().map(|format| format!(" ({format})")).unwrap_or_default();
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        name => name.as_str().unwrap_or("any").to_owned(),
    };
    escaped(&format!("{name}{format}"))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE).iter()
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}
