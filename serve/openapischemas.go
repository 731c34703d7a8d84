package serve

import (
	"fmt"
	"math"
	"strconv"
)

// schemas are the shapes of requests and answers.
func (s *Server) schemas() object {
	ids := s.vocab()
	return with(s.requestSchemas(ids), s.ollamaSchemas(ids), replySchemas(), ollamaReplySchemas())
}

// vocab is the number of ids that every model has.
func (s *Server) vocab() int64 {
	n := s.models.entries[0].vocab
	for _, e := range s.models.entries {
		n = min(n, e.vocab)
	}
	return int64(n)
}

// idKeys is a pattern of the numbers below n, or most of them, as keys of an object.
func idKeys(n int64) string {
	digits := strconv.FormatInt(n, 10)
	short := fmt.Sprintf("[0-9]{1,%d}", max(len(digits)-1, 1))
	if digits[0] == '1' || len(digits) == 1 {
		return "^" + short + "$"
	}
	return fmt.Sprintf("^(%s|[0-%c][0-9]{%d})$", short, digits[0]-1, len(digits)-1)
}

// modelField names a model.
func (s *Server) modelField() object {
	return described(oneOf(append(s.names(), "")...), "Absent or empty: the first model.")
}

const anyInt = math.MaxInt64

// samplingFields are those of chat and completions.
func (s *Server) samplingFields(ids int64) object {
	stop := object{"type": "string", "minLength": 1, "maxLength": maxStop}
	stops := listOf(stop)
	stops["maxItems"] = maxStops
	return object{
		"model": s.modelField(), "n": wholeNumber(1, maxChoices), "min_tokens": wholeNumber(0, anyInt),
		"temperature": number(0, 2), "top_p": number(0, 1), "top_k": wholeNumber(-1, anyInt), "min_p": number(0, 1), "typical_p": number(0, 1),
		"repeat_penalty": number(0.01, 10), "repetition_penalty": number(0.01, 10), "repeat_last_n": wholeNumber(-1, anyInt),
		"presence_penalty": number(-2, 2), "frequency_penalty": number(-2, 2), "seed": wholeNumber(math.MinInt64, anyInt),
		"stop": anyOfSchemas(stop, stops), "stop_token_ids": listOf(wholeNumber(0, ids-1)),
		"logit_bias": object{"type": "object", "additionalProperties": number(-100, 100), "propertyNames": object{"pattern": idKeys(ids)}},
		"ignore_eos": boolean(), "cache_salt": text(), "stream": boolean(),
		"response_format": formatSchema(), "grammar": described(text(), "GBNF"), "guided_regex": described(text(), "RE2"),
		"guided_choice": object{"type": "array", "items": text(), "maxItems": maxChoice}, "guided_json": object{"type": "object"},
	}
}

// formatSchema is that of response_format.
func formatSchema() object {
	return anyOfSchemas(
		reply("type", object{"type": object{"const": "text"}}),
		reply("type", object{"type": object{"const": "json_object"}}),
		reply("type json_schema", object{"type": object{"const": "json_schema"}, "json_schema": reply("", object{"name": text(), "schema": object{"type": "object"}})}),
	)
}

// toolSchemas are those of tools and the choice among them.
func toolSchemas() object {
	function := schema("name", object{
		"name": object{"type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,64}$"}, "description": text(), "parameters": object{"type": "object"}, "strict": boolean(),
	})
	tools := listOf(reply("function", object{"type": object{"const": "function"}, "function": function}))
	tools["maxItems"] = maxTools
	return object{
		"tools": tools,
		"tool_choice": anyOfSchemas(oneOf("none", "auto", "required"),
			reply("function", object{"type": object{"const": "function"}, "function": reply("name", object{"name": text()})})),
	}
}

// messageSchema is a message of OpenAI's API.
func messageSchema() object {
	part := reply("type text", object{"type": object{"const": "text"}, "text": text()})
	call := reply("function", object{
		"id": orNull(text()), "type": object{"const": "function"}, "function": reply("name", object{"name": object{"type": "string", "minLength": 1}, "arguments": described(text(), "JSON")}),
	})
	return schema("role", object{
		"role": oneOf("system", "developer", "user", "assistant", "tool"), "content": described(anyOfSchemas(text(), listOf(part)), "absent or null only beside calls of tools"),
		"name": text(), "reasoning": text(), "reasoning_content": text(), "tool_calls": listOf(call), "tool_call_id": text(),
	})
}

func (s *Server) requestSchemas(ids int64) object {
	messages := listOf(ref("Message"))
	messages["minItems"] = 1
	streamOptions := object{"stream_options": described(schema("", object{"include_usage": boolean()}), "only with stream")}
	id := wholeNumber(0, ids-1)
	idList := listOf(id)
	idList["minItems"] = 1
	word := object{"type": "string", "minLength": 1}
	words, idLists := listOf(word), listOf(idList)
	words["minItems"], words["maxItems"], idLists["minItems"], idLists["maxItems"] = 1, maxInputs, 1, maxInputs
	prompt := anyOfSchemas(word, object{"type": "array", "items": word, "minItems": 1, "maxItems": maxPrompts}, idList, object{"type": "array", "items": idList, "minItems": 1, "maxItems": maxPrompts})
	return object{
		"Message": messageSchema(),
		"ChatRequest": schema("messages", with(s.samplingFields(ids), toolSchemas(), streamOptions, object{
			"messages": messages, "max_tokens": wholeNumber(1, anyInt), "max_completion_tokens": wholeNumber(1, anyInt),
			"logprobs": boolean(), "top_logprobs": described(wholeNumber(0, maxTop), "only with logprobs"),
			"reasoning_effort": oneOf(efforts...), "include_reasoning": boolean(), "chat_template_kwargs": object{"type": "object"},
			"continue_final_message": boolean(), "add_generation_prompt": boolean(),
		})),
		"TemplateRequest": schema("messages", with(toolSchemas(), object{
			"model": s.modelField(), "messages": messages, "chat_template_kwargs": object{"type": "object"}, "reasoning_effort": oneOf(efforts...),
			"continue_final_message": boolean(), "add_generation_prompt": boolean(),
		})),
		"CompletionRequest": schema("prompt", with(s.samplingFields(ids), streamOptions, object{
			"prompt": prompt, "max_tokens": described(wholeNumber(0, anyInt), "0 only with echo"), "echo": boolean(), "logprobs": wholeNumber(0, maxTop),
			"best_of": described(wholeNumber(1, maxChoices), "the value of n"), "suffix": object{"type": "string", "maxLength": 0},
		})),
		"EmbeddingRequest": schema("input", object{
			"model": s.modelField(), "input": anyOfSchemas(word, words, idList, idLists), "encoding_format": oneOf("float", "base64"),
			"dimensions": described(object{"type": "integer"}, "the model's own number"),
		}),
		"TokenizeRequest": object{"anyOf": []object{
			schema("content", object{"model": s.modelField(), "content": text(), "add_special": boolean(), "with_pieces": boolean()}),
			schema("prompt", object{"model": s.modelField(), "prompt": text(), "add_special_tokens": boolean(), "return_token_strs": boolean()}),
			schema("messages", with(toolSchemas(), object{"model": s.modelField(), "messages": messages})),
		}},
		"DetokenizeRequest": schema("tokens", object{"model": s.modelField(), "tokens": listOf(id)}),
		"ResponseRequest":   s.responseSchema(),
	}
}

// responseSchema is the request of POST /v1/responses.
func (s *Server) responseSchema() object {
	part := reply("type text", object{"type": oneOf("input_text", "output_text"), "text": text()})
	callID := object{"type": "string", "minLength": 1}
	item := anyOfSchemas(
		reply("role content", object{"type": object{"const": "message"}, "role": oneOf("system", "developer", "user", "assistant"), "content": anyOfSchemas(text(), listOf(part))}),
		reply("type call_id name", object{"type": object{"const": "function_call"}, "call_id": callID, "name": callID, "arguments": described(text(), "JSON")}),
		reply("type call_id output", object{"type": object{"const": "function_call_output"}, "call_id": callID, "output": anyOfSchemas(text(), listOf(part))}),
		reply("type", object{"type": object{"const": "reasoning"}}),
	)
	items := listOf(item)
	items["minItems"] = 1
	items["contains"] = object{"properties": object{"type": oneOf("message", "function_call", "function_call_output")}, "required": []string{"type"}}
	function := schema("type name", object{
		"type": object{"const": "function"}, "name": object{"type": "string", "pattern": "^[a-zA-Z0-9_.-]{1,64}$"}, "description": text(),
		"parameters": object{"type": "object"}, "strict": boolean(),
	})
	format := anyOfSchemas(
		reply("type", object{"type": object{"const": "text"}}), reply("type", object{"type": object{"const": "json_object"}}),
		reply("type schema", object{"type": object{"const": "json_schema"}, "name": text(), "schema": object{"type": "object"}}),
	)
	tools := listOf(function)
	tools["maxItems"] = maxTools
	return schema("input", object{
		"model": s.modelField(), "input": anyOfSchemas(object{"type": "string", "minLength": 1}, items), "instructions": text(),
		"max_output_tokens": wholeNumber(1, anyInt), "temperature": number(0, 2), "top_p": number(0, 1), "top_logprobs": wholeNumber(0, maxTop),
		"include": listOf(text()), "text": schema("", object{"format": format}),
		"reasoning": schema("", object{"effort": oneOf(efforts...), "summary": text()}), "tools": tools,
		"tool_choice":         anyOfSchemas(oneOf("none", "auto", "required"), reply("name", object{"type": object{"const": "function"}, "name": text()})),
		"parallel_tool_calls": boolean(), "metadata": object{"type": "object", "additionalProperties": text()}, "stream": boolean(),
		"store": boolean(), "background": object{"type": "boolean", "const": false}, "previous_response_id": object{"type": "null"},
	})
}

// ollamaSchemas are the requests of Ollama's API.
func (s *Server) ollamaSchemas(ids int64) object {
	stop := object{"type": "string", "minLength": 1, "maxLength": maxStop}
	stops := listOf(stop)
	stops["maxItems"] = moreStops
	options := schema("", object{
		"num_predict": wholeNumber(math.MinInt64, anyInt), "num_ctx": described(wholeNumber(math.MinInt64, anyInt), "ignored: requests don't load models anew"),
		"temperature": number(0, 2), "top_k": wholeNumber(-1, anyInt), "top_p": number(0, 1), "min_p": number(0, 1), "typical_p": number(0, 1),
		"seed": wholeNumber(math.MinInt64, anyInt), "stop": anyOfSchemas(stop, stops), "repeat_penalty": number(0.01, 10), "repeat_last_n": wholeNumber(-1, anyInt),
		"presence_penalty": number(-2, 2), "frequency_penalty": number(-2, 2),
	})
	keep := described(anyOfSchemas(object{"type": "number"}, object{"type": "string", "format": "go-duration"}), `seconds, or a duration such as "5m"; negative: forever; 0: unload`)
	common := object{
		"model": s.modelField(), "stream": described(boolean(), "absent: true"), "format": anyOfSchemas(oneOf("json", ""), object{"type": "object"}), "options": options,
		"keep_alive": keep, "think": anyOfSchemas(boolean(), oneOf("low", "medium", "high", "max")),
		"logprobs": boolean(), "top_logprobs": described(wholeNumber(0, maxTop), "only with logprobs"),
	}
	noImages := object{"type": "array", "items": text(), "maxItems": 0}
	call := reply("function", object{"id": text(), "function": reply("name", object{"name": object{"type": "string", "minLength": 1}, "arguments": object{"type": "object"}})})
	message := schema("role", object{
		"role": oneOf("system", "user", "assistant", "tool"), "content": text(), "thinking": text(), "images": noImages, "tool_calls": listOf(call),
		"tool_name": text(), "tool_call_id": text(),
	})
	embed := object{"model": s.modelField(), "keep_alive": keep, "options": described(object{}, "ignored")}
	word := object{"type": "string", "minLength": 1}
	return object{
		"OllamaMessage":     message,
		"OllamaChatRequest": schema("", with(common, object{"messages": listOf(ref("OllamaMessage")), "tools": toolSchemas()["tools"]})),
		"OllamaGenerateRequest": schema("", with(common, object{
			"prompt": text(), "system": text(), "raw": described(boolean(), "without system and context"), "context": listOf(wholeNumber(0, ids-1)), "images": noImages,
			"suffix": object{"type": "string", "maxLength": 0}, "template": object{"type": "string", "maxLength": 0},
		})),
		"OllamaEmbedRequest": schema("", with(embed, object{
			"input": anyOfSchemas(word, object{"type": "array", "items": word, "maxItems": maxInputs}), "truncate": boolean(), "dimensions": described(object{"type": "integer"}, "the model's own number, or 0"),
		})),
		"OllamaEmbeddingsRequest": schema("", with(embed, object{"prompt": text()})),
		"OllamaShowRequest":       schema("model", object{"model": oneOf(s.names()...), "verbose": boolean()}),
	}
}

// replySchemas are the answers of OpenAI's API and of calls for tokens.
func replySchemas() object {
	usage := reply("prompt_tokens completion_tokens total_tokens", object{"prompt_tokens": object{"type": "integer"}, "completion_tokens": object{"type": "integer"}, "total_tokens": object{"type": "integer"}})
	model := reply("id object created owned_by context_length", object{
		"id": text(), "object": object{"const": "model"}, "created": object{"type": "integer"}, "owned_by": text(), "context_length": object{"type": "integer"},
		"parameters": object{"type": "integer"}, "loaded": boolean(), "defaults": object{"type": "object"},
	})
	message := reply("role content", object{"role": object{"const": "assistant"}, "content": orNull(text()), "reasoning_content": text(), "tool_calls": listOf(object{"type": "object"})})
	vector := object{"anyOf": []object{listOf(object{"type": "number"}), text()}}
	return object{
		"Error": reply("error", object{"error": reply("message type param code", object{
			"message": text(), "type": text(), "param": orNull(text()), "code": orNull(text()),
		})}),
		"ChatCompletion": reply("id object created model choices usage", object{
			"id": text(), "object": object{"const": "chat.completion"}, "created": object{"type": "integer"}, "model": text(), "usage": usage,
			"choices": listOf(reply("index message finish_reason", object{"index": object{"type": "integer"}, "message": message, "finish_reason": oneOf("stop", "length", "tool_calls")})),
		}),
		"Completion": reply("id object created model choices usage", object{
			"id": text(), "object": object{"const": "text_completion"}, "created": object{"type": "integer"}, "model": text(), "usage": usage,
			"choices": listOf(reply("index text finish_reason", object{"index": object{"type": "integer"}, "text": text(), "finish_reason": oneOf("stop", "length")})),
		}),
		"Response": reply("id object created_at status model output usage", object{
			"id": text(), "object": object{"const": "response"}, "created_at": object{"type": "integer"}, "status": oneOf("completed", "incomplete"), "model": text(),
			"output": listOf(reply("type id status", object{"type": oneOf("message", "reasoning", "function_call"), "id": text(), "status": text()})), "usage": object{"type": "object"},
		}),
		"Embeddings": reply("object data model usage", object{
			"object": object{"const": "list"}, "model": text(), "usage": object{"type": "object"},
			"data": listOf(reply("object index embedding", object{"object": object{"const": "embedding"}, "index": object{"type": "integer"}, "embedding": vector})),
		}),
		"Model":     model,
		"ModelList": reply("object data", object{"object": object{"const": "list"}, "data": listOf(ref("Model"))}),
		"Tokens":    reply("tokens count max_model_len", object{"tokens": object{"type": "array"}, "count": object{"type": "integer"}, "max_model_len": object{"type": "integer"}}),
		"Text":      reply("content", object{"content": text()}),
		"Prompt":    reply("prompt tokens count", object{"prompt": text(), "count": object{"type": "integer"}, "tokens": listOf(reply("id text role message control", object{}))}),
		"Document":  reply("openapi paths", object{}),
		"Status":    reply("status", object{"status": oneOf("ok", "loading", "draining")}),
		"Unready":   reply("error", object{"error": reply("code message type", object{"code": object{"type": "integer"}, "message": text(), "type": text()})}),
	}
}

// ollamaReplySchemas are the answers of Ollama's API.
func ollamaReplySchemas() object {
	numbers := object{}
	for _, name := range []string{"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"} {
		numbers[name] = object{"type": "integer"}
	}
	common := with(numbers, object{"model": text(), "created_at": text(), "done": boolean(), "done_reason": oneOf("stop", "length", "load", "unload")})
	entry := reply("name model size digest details", object{"name": text(), "model": text(), "size": object{"type": "integer"}, "digest": text(), "details": object{"type": "object"}})
	return object{
		"OllamaError": reply("error", object{"error": text()}),
		"OllamaChat": reply("model created_at message done done_reason", with(common, object{
			"message": reply("role content", object{"role": object{"const": "assistant"}, "content": text(), "thinking": text(), "tool_calls": listOf(object{"type": "object"})}),
		})),
		"OllamaGenerate":   reply("model created_at response done done_reason", with(common, object{"response": text(), "thinking": text(), "context": listOf(object{"type": "integer"})})),
		"OllamaEmbed":      reply("model embeddings", object{"model": text(), "embeddings": listOf(listOf(object{"type": "number"}))}),
		"OllamaEmbeddings": reply("embedding", object{"embedding": listOf(object{"type": "number"})}),
		"OllamaModels":     reply("models", object{"models": listOf(entry)}),
		"OllamaShow":       reply("details model_info capabilities template", object{"details": object{"type": "object"}, "model_info": object{"type": "object"}, "capabilities": listOf(text()), "template": text()}),
		"OllamaVersion":    reply("version", object{"version": text()}),
	}
}
