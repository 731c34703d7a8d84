package serve

import (
	"net/http"

	"leolm/chat"
	"leolm/tokenizer"
)

// tokenRequest is the body of POST /tokenize, in the words of llama.cpp (content) and vLLM (prompt, messages).
type tokenRequest struct {
	chatRequest
	Content    *string `json:"content"`
	Prompt     *string `json:"prompt"`
	AddSpecial *bool   `json:"add_special"`
	AddTokens  *bool   `json:"add_special_tokens"`
	WithPieces bool    `json:"with_pieces"`
	Strings    bool    `json:"return_token_strs"`
}

// tokenize answers POST /tokenize.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) error {
	var req tokenRequest
	if err := read(r, &req); err != nil {
		return err
	}
	m, release, err := s.models.get(r.Context(), req.Model)
	if err != nil {
		return err
	}
	defer release()
	var ids []int32
	switch {
	case req.Messages != nil:
		enc, err := m.rendered(&req.chatRequest)
		if err != nil {
			return err
		}
		ids = enc.IDs
	case req.Prompt != nil:
		ids = m.promptIDs(prompt{text: *req.Prompt}, req.AddTokens == nil || *req.AddTokens)
	case req.Content != nil:
		ids = m.promptIDs(prompt{text: *req.Content}, req.AddSpecial != nil && *req.AddSpecial)
	default:
		return bad("content", "send content, prompt or messages")
	}
	out := map[string]any{"tokens": append([]int32{}, ids...), "count": len(ids), "max_model_len": m.sched.Context()}
	if req.Strings {
		out["token_strs"] = m.strings(ids)
	}
	if req.WithPieces {
		type piece struct {
			ID    int32  `json:"id"`
			Piece string `json:"piece"`
		}
		pieces := []piece{}
		for i, text := range m.strings(ids) {
			pieces = append(pieces, piece{ids[i], text})
		}
		out["tokens"] = pieces
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// strings are the texts of ids one by one.
func (m *model) strings(ids []int32) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, string(m.bytes(id)))
	}
	return out
}

// detokenize answers POST /detokenize.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Model  string   `json:"model"`
		Tokens tokenIDs `json:"tokens"`
	}
	if err := read(r, &req); err != nil {
		return err
	}
	if req.Tokens == nil {
		return bad("tokens", "tokens is missing")
	}
	m, release, err := s.models.get(r.Context(), req.Model)
	if err != nil {
		return err
	}
	defer release()
	if err := req.Tokens.check("tokens", m.Tokenizer.Vocab()); err != nil {
		return err
	}
	text := m.Tokenizer.Decode(req.Tokens, false)
	writeJSON(w, http.StatusOK, map[string]string{"content": text, "prompt": text})
	return nil
}

// rendered writes the conversation of a request without asking for an answer.
func (m *model) rendered(r *chatRequest) (*chat.Encoded, error) {
	msgs, err := messages(r.Messages)
	if err != nil {
		return nil, err
	}
	tools, err := newToolbox(r.Tools, r.ToolChoice)
	if err != nil {
		return nil, err
	}
	opt, err := r.options()
	if err != nil {
		return nil, err
	}
	return m.prompt(msgs, tools, opt)
}

// applyTemplate answers POST /apply-template: the exact prompt of a conversation, and its tokens with their roles.
func (s *Server) applyTemplate(w http.ResponseWriter, r *http.Request) error {
	var req chatRequest
	if err := read(r, &req); err != nil {
		return err
	}
	m, release, err := s.models.get(r.Context(), req.Model)
	if err != nil {
		return err
	}
	defer release()
	enc, err := m.rendered(&req)
	if err != nil {
		return err
	}
	type token struct {
		ID      int32  `json:"id"`
		Text    string `json:"text"`
		Role    string `json:"role"`
		Message int32  `json:"message"` // -1 outside any
		Control bool   `json:"control"`
	}
	tokens := make([]token, len(enc.IDs))
	for i, id := range enc.IDs {
		kind := m.Tokenizer.Kind(id)
		tokens[i] = token{
			ID: id, Text: string(m.bytes(id)), Role: enc.Roles[i].String(), Message: enc.Messages[i],
			Control: kind == tokenizer.Control,
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"prompt": enc.Rendered.Text, "tokens": tokens, "count": len(tokens)})
	return nil
}
