"""Opens what LEO_CHAIN_OUT holds with transformers, PEFT and llama.cpp: see README.md."""
import json
import pathlib
import sys
import warnings

import jinja2
import torch
import transformers

transformers.logging.set_verbosity_error()
warnings.filterwarnings("ignore")
torch.manual_seed(0)

try:
    import llama_cpp
except ImportError:
    llama_cpp = None


def log_probs(logits, ids):
    lp = torch.log_softmax(logits.double(), dim=-1)
    return [lp[i, ids[i + 1]].item() for i in range(len(ids) - 1)]


class Transformers:
    name = "transformers " + transformers.__version__

    def __init__(self, path, loras):
        from transformers import AutoModelForCausalLM, AutoTokenizer
        where = loras[0] if loras else path
        self.tok = AutoTokenizer.from_pretrained(where)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        if loras:
            import peft
            self.name = "PEFT " + peft.__version__
            rows = peft_rows(loras[0])
            if rows and rows != self.model.get_input_embeddings().weight.shape[0]:
                self.model.resize_token_embeddings(rows, mean_resizing=False)
            self.model = peft.PeftModel.from_pretrained(self.model, loras[0])
        self.model.eval()

    def prompt(self, text):
        ids = self.tok.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
        return list(ids if isinstance(ids, list) else ids["input_ids"])

    def logits(self, ids):
        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0]

    def greedy(self, ids, n):
        out = self.model.generate(torch.tensor([ids]), max_new_tokens=n, do_sample=False, repetition_penalty=1.0)
        return self.tok.decode(out[0][len(ids):], skip_special_tokens=True)


def peft_rows(path):
    from safetensors import safe_open
    with safe_open(pathlib.Path(path) / "adapter_model.safetensors", "pt") as f:
        for k in f.keys():
            if k.endswith("embed_tokens.weight") or k.endswith("lm_head.weight"):
                return f.get_slice(k).get_shape()[0]
    return None


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, path, loras):
        self.name = "llama.cpp (llama-cpp-python %s)" % llama_cpp.__version__
        self.m = llama_cpp.Llama(path, n_ctx=128, logits_all=True, verbose=False, n_threads=1)

    def prompt(self, text):
        env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        rendered = env.from_string(self.m.metadata["tokenizer.chat_template"]).render(
            messages=[{"role": "user", "content": text}], add_generation_prompt=True)
        bos = self.m.metadata.get("tokenizer.ggml.add_bos_token") != "false"
        return list(self.m.tokenize(rendered.encode(), add_bos=bos, special=True))

    def logits(self, ids):
        self.m.reset()
        self.m.eval(ids)
        return torch.tensor(self.m.scores[: len(ids)].copy())

    def greedy(self, ids, n):
        self.m.reset()
        out = []
        for t in self.m.generate(list(ids), temp=0.0, repeat_penalty=1.0):
            if llama_cpp.llama_vocab_is_eog(llama_cpp.llama_model_get_vocab(self.m.model), t) or len(out) == n:
                break
            out.append(t)
        return self.m.detokenize(out, special=False).decode("utf-8", "replace")


def main(root):
    print("| model | form | program | ids | log-probabilities | greedy answer |\n|---|---|---|---|---|---|")
    bad = 0
    for file in sorted(pathlib.Path(root).glob("*/leo-readings.json")):
        want = json.loads(file.read_text())
        for form in want["forms"]:
            gguf = form["model"].endswith(".gguf")
            if gguf and (llama_cpp is None or form.get("loras")):
                continue
            peer = (LlamaCpp if gguf else Transformers)(form["model"], form.get("loras") or [])
            same_ids = all(peer.prompt(p["text"]) == p["ids"] for p in want["prompts"])
            # Leo takes probabilities over the ids in use; rows behind them only fill the matrix up.
            got = log_probs(peer.logits(want["ids"])[:, : want["vocab"]], want["ids"])
            worst = max(abs(a - b) for a, b in zip(got, want["logps"]))
            reply, leo = peer.greedy(want["ids"], want["new_tokens"]).strip(), want["reply"].strip()
            ok = same_ids and worst <= limit(form["exact"], gguf) and (reply == leo or not form["exact"])
            bad += not ok
            print("| %s | %s | %s | %s | %.1e | %s |%s" % (
                file.parent.name, form["name"], peer.name, "same" if same_ids else "DIFFER", worst,
                "same" if reply == leo else "%r, not %r" % (reply, leo), "" if ok else " <-"))
    print("%d of these differ" % bad, file=sys.stderr)
    return bad != 0


def limit(exact, gguf):
    """llama.cpp keeps keys and values in 16 bits; what is not exact was quantized."""
    if not exact:
        return 0.3
    return 5e-3 if gguf else 2e-5


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
