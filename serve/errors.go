package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"leolm/device"
	"leolm/infer"
	"leolm/internal/constrain"
)

// Error is an error as a client sees it.
type Error struct {
	Status     int
	Message    string
	Param      string        // the field at fault, or ""
	Code       string        // for programs, such as "context_length_exceeded", or ""
	RetryAfter time.Duration // when it is worth asking again; 0: not said

	cause error // of a server's failure, or nil
	short bool  // Ollama's shape
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what made the server fail, for who runs it: Message says it to clients.
func (e *Error) Unwrap() error { return e.cause }

// statusClientGone is nginx's status for a client that closed the connection; only logs see it.
const statusClientGone = 499

// kind is the error's type in OpenAI's words.
func (e *Error) kind() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "authentication_error"
	case e.Status == http.StatusForbidden:
		return "permission_error"
	case e.Status == http.StatusNotFound:
		return "not_found_error"
	case e.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case e.Status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// MarshalJSON writes OpenAI's shape: {"error": {"message", "type", "param", "code"}}, or Ollama's: {"error": "message"}.
func (e *Error) MarshalJSON() ([]byte, error) {
	if e.short {
		return json.Marshal(map[string]string{"error": e.Message})
	}
	type inner struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	or := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return json.Marshal(map[string]inner{"error": {e.Message, e.kind(), or(e.Param), or(e.Code)}})
}

// write sends e as a response.
func (e *Error) write(w http.ResponseWriter) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.Status, e)
}

// bad is a mistake in the request, in the field param.
func bad(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Param: param, Message: fmt.Sprintf(format, args...)}
}

// retrySoon is when a client is told to come back after a full queue.
const retrySoon = time.Second

// asError turns what the rooms below report into what a client sees.
func asError(err error) *Error {
	var (
		e       *Error
		context *infer.ContextError
		token   *infer.TokenError
		queue   *infer.QueueFullError
		memory  *device.MemoryError
		cache   *device.CacheFullError
		limit   *constrain.LimitError
	)
	if e := asLimit(err); e != nil {
		return e
	}
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &context):
		return tooLong(context.Tokens, context.Limit)
	case errors.As(err, &token):
		return bad("", "%v", token)
	case errors.As(err, &queue):
		return &Error{Status: http.StatusTooManyRequests, Message: queue.Error(), Code: "queue_full", RetryAfter: retrySoon}
	case errors.As(err, &limit), errors.Is(err, errSlow):
		return bad("response_format", "%v", err)
	case errors.As(err, &memory), errors.As(err, &cache):
		return &Error{Status: http.StatusServiceUnavailable, Message: err.Error(), Code: "out_of_memory", RetryAfter: 10 * time.Second}
	case errors.Is(err, infer.ErrClosed), isDone(err):
		return &Error{Status: http.StatusServiceUnavailable, Message: "the server is stopping", Code: "stopping", RetryAfter: 5 * time.Second}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "the server failed: " + err.Error()}
}

// isDone reports whether err is the end of a context: the server's, because a client's is told apart before.
func isDone(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// tooLong reports a prompt that does not fit into the context with at least one token of answer.
func tooLong(tokens, limit int) *Error {
	return &Error{Status: http.StatusBadRequest, Param: "messages", Code: "context_length_exceeded", Message: fmt.Sprintf(
		"this model's maximum context length is %d tokens; the prompt has %d, which leaves no room for an answer", limit, tokens)}
}

// writeJSON sends v with a status.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"message":"the answer cannot be written as JSON","type":"server_error","param":null,"code":null}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone has no use for an error
}

// encode writes v as JSON, with < and > as they are.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
