package serve

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// object is a piece of the OpenAPI document.
type object = map[string]any

// operation is what the document says of a route.
type operation struct {
	pattern string // as in Server.table
	summary string
	request string // the schema of the body, "" for none
	reply   string // the schema of the answer
	stream  string // the content type of the answer as a stream, "" if there is none
	text    string // the content type of an answer that is no JSON
	unready string // the schema of status 503, if that is no error
	errors  []int  // statuses besides those that every route with a body has
	only    int    // the one status of a route that refuses everything
}

// operations are all routes, in the order of the document.
var operations = []operation{
	{pattern: "POST /v1/chat/completions", summary: "Answer a conversation", request: "ChatRequest", reply: "ChatCompletion", stream: "text/event-stream"},
	{pattern: "POST /v1/responses", summary: "Answer a conversation, in the shape of OpenAI's Responses", request: "ResponseRequest", reply: "Response", stream: "text/event-stream"},
	{pattern: "POST /v1/completions", summary: "Continue texts, or score them", request: "CompletionRequest", reply: "Completion", stream: "text/event-stream"},
	{pattern: "POST /v1/embeddings", summary: "Turn texts into vectors", request: "EmbeddingRequest", reply: "Embeddings"},
	{pattern: "GET /v1/models", summary: "List the models", reply: "ModelList"},
	{pattern: "GET /v1/models/{name...}", summary: "Describe a model", reply: "Model", errors: []int{404}},
	{pattern: "POST /tokenize", summary: "Turn a text or a conversation into ids", request: "TokenizeRequest", reply: "Tokens"},
	{pattern: "POST /detokenize", summary: "Turn ids into text", request: "DetokenizeRequest", reply: "Text"},
	{pattern: "POST /apply-template", summary: "Write the prompt of a conversation, with its tokens and their roles", request: "TemplateRequest", reply: "Prompt"},
	{pattern: "POST /api/chat", summary: "Answer a conversation, in Ollama's shape", request: "OllamaChatRequest", reply: "OllamaChat", stream: "application/x-ndjson"},
	{pattern: "POST /api/generate", summary: "Answer a question, in Ollama's shape", request: "OllamaGenerateRequest", reply: "OllamaGenerate", stream: "application/x-ndjson"},
	{pattern: "POST /api/embed", summary: "Turn texts into vectors, in Ollama's shape", request: "OllamaEmbedRequest", reply: "OllamaEmbed"},
	{pattern: "POST /api/embeddings", summary: "Turn a text into a vector, in Ollama's older shape", request: "OllamaEmbeddingsRequest", reply: "OllamaEmbeddings"},
	{pattern: "POST /api/show", summary: "Describe a model, in Ollama's shape", request: "OllamaShowRequest", reply: "OllamaShow"},
	{pattern: "GET /api/tags", summary: "List the models, in Ollama's shape", reply: "OllamaModels"},
	{pattern: "GET /api/ps", summary: "List the loaded models, in Ollama's shape", reply: "OllamaModels"},
	{pattern: "GET /api/version", summary: "The version of Ollama's API that is spoken", reply: "OllamaVersion"},
	{pattern: "POST /api/pull", summary: "Refused: requests don't change the models", only: 403},
	{pattern: "POST /api/push", summary: "Refused: requests don't change the models", only: 403},
	{pattern: "POST /api/create", summary: "Refused: requests don't change the models", only: 403},
	{pattern: "POST /api/copy", summary: "Refused: requests don't change the models", only: 403},
	{pattern: "DELETE /api/delete", summary: "Refused: requests don't change the models", only: 403},
	{pattern: "GET /livez", summary: "Whether the process runs", reply: "Status"},
	{pattern: "GET /readyz", summary: "Whether the first model is loaded and the server is not about to end", reply: "Status", unready: "Status"},
	{pattern: "GET /health", summary: "The same, as llama.cpp's server says it", reply: "Status", unready: "Unready"},
	{pattern: "GET /metrics", summary: "Prometheus metrics", text: "text/plain"},
	{pattern: "GET /{$}", summary: "The web page, or a line that says that the server runs", text: "*/*"},
	{pattern: "GET /openapi.json", summary: "This document", reply: "Document"},
}

// openAPI answers GET /openapi.json.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.document())
	return nil
}

// document describes every route of this server, with the names of its models.
func (s *Server) document() object {
	paths := object{}
	for _, op := range operations {
		if !slices.Contains(s.patterns, op.pattern) {
			continue
		}
		method, path, _ := strings.Cut(op.pattern, " ")
		path = strings.ReplaceAll(strings.TrimSuffix(path, "{$}"), "...", "")
		item, _ := paths[path].(object)
		if item == nil {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = s.describe(&op, path)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Leo", "version": "1",
			"description": "OpenAI's and Ollama's API for models that Leo runs. Fields that are not listed are ignored.",
		},
		"paths": paths,
		"components": object{
			"schemas":         s.schemas(),
			"securitySchemes": object{"key": object{"type": "http", "scheme": "bearer", "description": "Needed only where the server has keys."}},
		},
		"security": []object{{}, {"key": []string{}}},
	}
}

// errorTexts say what a status means here.
var errorTexts = map[int]string{
	400: "The request is wrong; the message and param say where",
	401: "A key is needed, and this is none",
	403: "This is not allowed",
	404: "There is no such model",
	408: "The body did not come in time",
	413: "The body is too large",
	415: "A page must send its requests as application/json",
	429: "Too many requests wait; Retry-After says when to come back",
	503: "The server is stopping, a model cannot be loaded, or memory is short",
}

// describe is the document's entry of a route.
func (s *Server) describe(op *operation, path string) object {
	method, _, _ := strings.Cut(op.pattern, " ")
	out := object{"summary": op.summary, "operationId": strings.Trim(strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_", "-", "_").Replace(strings.ToLower(method)+path), "_")}
	responses := object{}
	fail := func(status int) {
		r := object{"description": errorTexts[status], "content": object{"application/json": object{"schema": ref(errorSchema(path))}}}
		if status == 429 || status == 503 {
			r["headers"] = object{"Retry-After": object{"description": "seconds", "schema": object{"type": "integer"}}}
		}
		responses[fmt.Sprint(status)] = r
	}
	for _, status := range op.errors {
		fail(status)
	}
	switch {
	case op.only != 0:
		fail(op.only)
	case op.text != "":
		responses["200"] = object{"description": "OK", "content": object{op.text: object{"schema": object{"type": "string"}}}}
	default:
		content := object{"application/json": object{"schema": ref(op.reply)}}
		if op.stream != "" {
			content[op.stream] = object{}
		}
		responses["200"] = object{"description": "OK", "content": content}
	}
	if op.request != "" {
		out["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": ref(op.request)}}}
		for _, status := range []int{400, 404, 408, 413, 415, 429} {
			fail(status)
		}
	}
	if op.unready != "" {
		responses["503"] = object{"description": "Not yet, or no longer", "content": object{"application/json": object{"schema": ref(op.unready)}}}
	}
	if !public[op.pattern] {
		for _, status := range []int{401, 403, 503} {
			fail(status)
		}
	}
	if strings.Contains(path, "{name}") {
		out["parameters"] = []object{{"name": "name", "in": "path", "required": true, "schema": object{"type": "string", "enum": s.names()}}}
	}
	out["responses"] = responses
	return out
}

func errorSchema(path string) string {
	if isOllama(path) {
		return "OllamaError"
	}
	return "Error"
}

// names are those that requests may use.
func (s *Server) names() []string {
	var out []string
	for _, e := range s.models.entries {
		out = append(out, e.name)
	}
	return out
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// schema is an object; required names those of props that must be there, all others may be null.
func schema(required string, props object) object {
	must := strings.Fields(required)
	out := object{"type": "object", "properties": props}
	for name, p := range props {
		if !slices.Contains(must, name) {
			props[name] = orNull(p.(object))
		}
	}
	if len(must) > 0 {
		out["required"] = must
	}
	return out
}

// reply is an object of an answer: nothing more is said of fields that are not in props.
func reply(required string, props object) object {
	out := object{"type": "object", "properties": props}
	if must := strings.Fields(required); len(must) > 0 {
		out["required"] = must
	}
	return out
}

// orNull allows null beside what p allows.
func orNull(p object) object {
	if p["type"] == "null" || p["type"] == nil && p["anyOf"] == nil && p["const"] == nil && p["$ref"] == nil {
		return p // it does already
	}
	if t, ok := p["type"].(string); ok && p["enum"] == nil && p["const"] == nil {
		p = maps.Clone(p)
		p["type"] = []string{t, "null"}
		return p
	}
	return object{"anyOf": []object{p, {"type": "null"}}}
}

func text() object    { return object{"type": "string"} }
func boolean() object { return object{"type": "boolean"} }

// number is a number within bounds; whole a whole one.
func number(lo, hi float64) object { return object{"type": "number", "minimum": lo, "maximum": hi} }
func wholeNumber(lo, hi int64) object {
	return object{"type": "integer", "minimum": lo, "maximum": hi}
}
func listOf(item object) object           { return object{"type": "array", "items": item} }
func oneOf(values ...string) object       { return object{"type": "string", "enum": values} }
func anyOfSchemas(all ...object) object   { return object{"anyOf": all} }
func described(o object, t string) object { o["description"] = t; return o }

// with joins properties.
func with(all ...object) object {
	out := object{}
	for _, o := range all {
		maps.Copy(out, o)
	}
	return out
}
