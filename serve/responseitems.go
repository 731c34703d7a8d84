package serve

import "leolm/infer"

// responseItem is an item of a response: a message, a thought, or a call.
type responseItem struct {
	kind      string // "message", "reasoning" or "function_call"
	id        string
	status    string
	text      string // of a message or a thought; the arguments of a call
	callID    string
	name      string
	probs     []tokenLogProb
	textGiven bool // its part has been announced
}

// object is the item in OpenAI's shape.
func (it *responseItem) object() map[string]any {
	switch it.kind {
	case "function_call":
		return map[string]any{"type": it.kind, "id": it.id, "status": it.status, "call_id": it.callID, "name": it.name, "arguments": it.text}
	case "reasoning":
		content := []any{}
		if it.textGiven {
			content = append(content, it.part())
		}
		return map[string]any{"type": it.kind, "id": it.id, "status": it.status, "summary": []any{}, "content": content}
	}
	content := []any{}
	if it.textGiven {
		content = append(content, it.part())
	}
	return map[string]any{"type": it.kind, "id": it.id, "status": it.status, "role": "assistant", "content": content}
}

// part is the one part of an item's content.
func (it *responseItem) part() map[string]any {
	if it.kind == "reasoning" {
		return map[string]any{"type": "reasoning_text", "text": it.text}
	}
	return map[string]any{"type": "output_text", "text": it.text, "annotations": []any{}, "logprobs": notNil(it.probs)}
}

func notNil(lp []tokenLogProb) []tokenLogProb {
	if lp == nil {
		return []tokenLogProb{}
	}
	return lp
}

// event writes an event with the next number.
func (a *responseAnswer) event(kind string, fields map[string]any) error {
	if a.out == nil {
		return nil
	}
	fields["type"], fields["sequence_number"] = kind, a.seq
	a.seq++
	b, err := encode(fields)
	if err != nil {
		return err
	}
	return a.out.raw([]byte("event: " + kind + "\ndata: " + string(b) + "\n\n"))
}

// about writes an event about the last item.
func (a *responseAnswer) about(kind string, fields map[string]any) error {
	n := len(a.items) - 1
	fields["output_index"] = n
	if _, whole := fields["item"]; !whole {
		fields["item_id"] = a.items[n].id
		if a.items[n].kind != "function_call" {
			fields["content_index"] = 0
		}
	}
	return a.event(kind, fields)
}

// open returns the item that takes pieces of a kind, and closes the one before it if that is of another.
func (a *responseAnswer) open(kind string, call *callDelta) (*responseItem, error) {
	if n := len(a.items); n > 0 {
		if last := a.items[n-1]; last.kind == kind && last.status == "in_progress" && (call == nil || call.id == "") {
			return last, nil
		}
		if err := a.close("completed"); err != nil {
			return nil, err
		}
	}
	it := &responseItem{kind: kind, status: "in_progress"}
	switch kind {
	case "function_call":
		it.id, it.callID, it.name = newID("fc_"), call.id, call.name
	case "reasoning":
		it.id = newID("rs_")
	default:
		it.id = newID("msg_")
	}
	a.items = append(a.items, it)
	err := a.about("response.output_item.added", map[string]any{"item": it.object()})
	if err == nil && kind != "function_call" {
		err = a.about("response.content_part.added", map[string]any{"part": it.part()})
		it.textGiven = true
	}
	return it, err
}

// close ends the last item.
func (a *responseAnswer) close(status string) error {
	it := a.items[len(a.items)-1]
	if it.status != "in_progress" {
		return nil
	}
	var err error
	switch it.kind {
	case "function_call":
		err = a.about("response.function_call_arguments.done", map[string]any{"arguments": it.text, "name": it.name})
	case "reasoning":
		err = a.about("response.reasoning_text.done", map[string]any{"text": it.text})
	default:
		err = a.about("response.output_text.done", map[string]any{"text": it.text, "logprobs": notNil(it.probs)})
	}
	if err == nil && it.kind != "function_call" {
		err = a.about("response.content_part.done", map[string]any{"part": it.part()})
	}
	it.status = status
	if err == nil {
		err = a.about("response.output_item.done", map[string]any{"item": it.object()})
	}
	return err
}

// pieces adds the pieces of the answer, with the log-probabilities of the token that brought them.
func (a *responseAnswer) pieces(pieces []delta, lp []tokenLogProb) error {
	for _, p := range pieces {
		if err := a.piece(p, lp); err != nil {
			return err
		}
		if p.call == nil && p.reasoning == "" {
			lp = nil
		}
	}
	if n := len(a.items); len(lp) > 0 && n > 0 && a.items[n-1].kind == "message" {
		a.items[n-1].probs = append(a.items[n-1].probs, lp...) // its text comes later
	}
	return nil
}

func (a *responseAnswer) piece(p delta, lp []tokenLogProb) error {
	switch {
	case p.reasoning != "":
		it, err := a.open("reasoning", nil)
		if err != nil {
			return err
		}
		it.text += p.reasoning
		return a.about("response.reasoning_text.delta", map[string]any{"delta": p.reasoning})
	case p.call != nil:
		it, err := a.open("function_call", p.call)
		if err != nil || p.call.arguments == "" {
			return err
		}
		it.text += p.call.arguments
		return a.about("response.function_call_arguments.delta", map[string]any{"delta": p.call.arguments})
	}
	it, err := a.open("message", nil)
	if err != nil {
		return err
	}
	it.text += p.text
	it.probs = append(it.probs, lp...)
	return a.about("response.output_text.delta", map[string]any{"delta": p.text, "logprobs": notNil(lp)})
}

// ended adds what was held back, and closes the last item. An answer without any is an empty message.
func (a *responseAnswer) ended(r *infer.Result) error {
	if err := a.pieces(a.chatAnswer.ended(0, r), nil); err != nil {
		return err
	}
	if len(a.items) == 0 {
		if _, err := a.open("message", nil); err != nil {
			return err
		}
	}
	status := "completed"
	if finish(r) == "length" {
		status = "incomplete"
	}
	return a.close(status)
}
