package textcheck

import "strings"

// refusals are openings of answers in which a model speaks of itself or
// declines, in German and English, in lower case. They matter near the start
// of an answer; a story may well contain "das kann ich nicht".
var refusals = []string{
	"als ki-sprachmodell", "als ki sprachmodell", "als ein ki-sprachmodell", "als sprachmodell", "als ein sprachmodell",
	"als künstliche intelligenz", "als eine künstliche intelligenz", "als ki-modell", "als ki-assistent", "als ki bin ich", "als ki habe ich", "als ki kann ich",
	"als ein künstliches intelligenzmodell", "als textbasierte ki", "als textbasiertes", "als virtueller assistent",
	"ich bin ein ki-", "ich bin nur ein ki", "ich bin eine künstliche intelligenz", "ich bin ein sprachmodell",
	"es tut mir leid, aber ich kann", "es tut mir leid, aber ich bin nicht in der lage", "es tut mir leid, ich kann", "tut mir leid, aber ich kann", "entschuldigung, aber ich kann",
	"ich kann diese anfrage nicht", "ich kann ihre anfrage nicht", "ich kann deine anfrage nicht", "ich kann dieser bitte nicht",
	"ich bin nicht in der lage, diese anfrage", "ich darf keine", "mein wissensstand", "meine trainingsdaten", "bis zu meinem letzten update", "openai",
	"as an ai language model", "as a language model", "as an artificial intelligence", "as an ai, i", "as an ai assistant", "i'm just an ai", "i am an ai",
	"i'm sorry, but i can", "i am sorry, but i can", "sorry, but i can't", "i cannot fulfill", "i can't fulfill", "i cannot assist", "i can't assist",
	"my training data", "my knowledge cutoff", "knowledge cutoff",
}

// Refusal reports whether an answer declines or speaks as "an AI language model"
// within its first 300 bytes, and returns the phrase that says so.
func Refusal(answer string) (phrase string, found bool) {
	head := answer
	if len(head) > 300 {
		head = head[:300]
	}
	head = strings.ToLower(strings.NewReplacer("\u00a0", " ", "’", "'").Replace(head))
	best := -1
	for _, p := range refusals {
		if i := strings.Index(head, p); i >= 0 && (best < 0 || i < best) {
			best, phrase = i, p
		}
	}
	return phrase, best >= 0
}

// residues are marks of prompt templates and exports that do not belong in the
// text of a turn. Matched as written.
var residues = []string{
	"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|prompter|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>",
	"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "</s>", "<s>[",
	"### Instruction:", "### Response:", "### Input:", "### Assistant:", "### Human:", "### Anweisung:", "### Antwort:", "### Eingabe:",
	"\nUSER:", "\nASSISTANT:", "\nHuman:", "\nAssistant:", "\nBenutzer:", "\nAssistent:",
	"{{input}}", "{{instruction}}", "{input}", "{instruction}", "{prompt}", "{output}", "{question}", "{context}",
	"Regenerate response", "Share Prompt", "1 / 1\n",
}

// Residue reports whether a turn holds marks of a prompt template or of a chat
// export, and returns the first one and its byte offset.
func Residue(turn string) (mark string, offset int, found bool) {
	best := -1
	for _, p := range residues {
		if i := strings.Index(turn, p); i >= 0 && (best < 0 || i < best) {
			best, mark = i, p
		}
	}
	if best < 0 { // a role name at the very start
		for _, p := range []string{"USER:", "ASSISTANT:", "Human:", "Assistant:"} {
			if strings.HasPrefix(turn, p) {
				return p, 0, true
			}
		}
	}
	return mark, best, best >= 0
}
