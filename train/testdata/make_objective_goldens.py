"""Golden steps of preference training and distillation, made by TRL and PyTorch.

python make_objective_goldens.py          (writes objective-*.safetensors beside this file)

The words of the tiny tokenizer are w3, w4, …, so that texts are ids. DPO, KTO and ORPO are
TRL's own trainers on its own batches: of the first batch the loss and all gradients, then the losses of ten AdamW
steps on the same batch. Distillation is written out here; its Kullback-Leibler divergence is held against TRL's
GKDTrainer. All in float64, except what TRL itself narrows.

objective-policy holds the model ("w."), the examples ("prompt.N", "chosen.N", "rejected.N"; "completion.N" and
"label" for KTO) and, for each objective, "NAME.loss", "NAME.losses" and gradients "NAME.g.". objective-reference has
the weights of the reference, objective-teacher a model of another shape.
"""
import json, os, tempfile, torch
import torch.nn.functional as F
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.gkd import GKDTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB = 37

def tokenizer():
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, VOCAB)}}
    tok = Tokenizer(models.WordLevel(vocab, unk_token="<pad>"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="<pad>", bos_token="<s>", eos_token="</s>")

def config(**kw):
    return LlamaConfig(**{"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": VOCAB,
                          "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, "initializer_range": 0.2,
                          "attn_implementation": "eager", "dtype": "float32", **kw})

def model(cfg, weights=None):
    m = LlamaForCausalLM(cfg).double()
    if weights is not None: m.load_state_dict({n: p.double() for n, p in weights.items()})
    return m

def weights_of(m): return {n: p.detach().float().contiguous().clone() for n, p in m.named_parameters()}

def save(name, cfg, out):
    save_file(out, os.path.join(HERE, f"objective-{name}.safetensors"), metadata={"config": json.dumps(cfg.to_dict())})

def words(ids): return " ".join(f"w{i}" for i in ids)

def steps(name, m, loss_of, out):
    """The loss and the gradients of the first step, and the losses of ten."""
    opt = torch.optim.AdamW(m.parameters(), lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    losses = []
    for i in range(10):
        loss = loss_of(m)
        loss.backward()
        losses.append(float(loss.detach()))
        if i == 0:
            for n, p in m.named_parameters(): out[f"{name}.g.{n}"] = p.grad.detach().float().contiguous().clone()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step(); opt.zero_grad()
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)
    print(name, losses)

def batch_of(trainer, data):
    """The trainer's batch of all examples in their order."""
    return trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[i] for i in range(len(data))]))

def main():
    torch.manual_seed(5)
    tok, cfg = tokenizer(), config()
    policy = weights_of(model(cfg))
    reference = {n: p + 0.05 * torch.randn_like(p) for n, p in policy.items()}
    teacher_cfg = config(hidden_size=32, num_attention_heads=4, num_key_value_heads=4, vocab_size=VOCAB + 3)
    teacher = model(teacher_cfg)
    save("reference", cfg, {"w." + n: p for n, p in reference.items()})
    save("teacher", teacher_cfg, {"w." + n: p for n, p in weights_of(teacher).items()})

    ids = lambda n: torch.randint(3, VOCAB, (n,)).tolist()
    rows = [(ids(p), ids(c), ids(r)) for p, c, r in [(4, 6, 3), (7, 2, 5), (3, 5, 5), (5, 8, 4)]]
    out = {"w." + n: p for n, p in policy.items()}
    put = lambda key, x: out.__setitem__(key, torch.tensor(x, dtype=torch.int32))
    pairs = []
    for i, (p, c, r) in enumerate(rows):
        put(f"prompt.{i}", [1] + p); put(f"chosen.{i}", c + [2]); put(f"rejected.{i}", r + [2])
        pairs.append({"prompt": "<s> " + words(p), "chosen": " " + words(c) + " </s>", "rejected": " " + words(r) + " </s>"})
    labels = [True, False, False, True]
    put("label", [int(x) for x in labels])
    unpaired = []
    for i, (p, c, r) in enumerate(rows):
        answer = c if labels[i] else r
        put(f"completion.{i}", answer + [2])
        unpaired.append({"prompt": "<s> " + words(p), "completion": " " + words(answer) + " </s>", "label": labels[i]})

    with tempfile.TemporaryDirectory() as d:
        common = dict(output_dir=d, per_device_train_batch_size=len(rows), report_to=[], use_cpu=True, bf16=False, max_length=64,
                      gradient_checkpointing=False, remove_unused_columns=False)
        data = Dataset.from_list(pairs)
        t = DPOTrainer(model(cfg, policy), model(cfg, reference), DPOConfig(beta=0.3, **common), train_dataset=data, processing_class=tok)
        b = batch_of(t, data)
        steps("dpo", t.model, lambda m: t.compute_loss(m, b), out)
        t = ORPOTrainer(model(cfg, policy), ORPOConfig(beta=0.4, **common), train_dataset=data, processing_class=tok)
        bo = batch_of(t, data)
        steps("orpo", t.model, lambda m: t.compute_loss(m, bo), out)
        data = Dataset.from_list(unpaired)
        t = KTOTrainer(model(cfg, policy), model(cfg, reference), KTOConfig(beta=0.3, desirable_weight=1.0, undesirable_weight=1.5, **common), train_dataset=data, processing_class=tok)
        bk = batch_of(t, data)
        steps("kto", t.model, lambda m: t.compute_loss(m, bk), out)

    alpha, T = 0.3, 2.0
    def distill(m):
        ce = kl = n = 0
        for p, c, _ in rows:
            seq = torch.tensor([1] + p + c + [2])
            rest = slice(len(p), len(seq) - 1)
            s = m(seq[None]).logits[0, rest]
            with torch.no_grad(): q = teacher(seq[None]).logits[0, rest, :VOCAB]
            ce = ce + F.cross_entropy(s, seq[len(p) + 1:], reduction="sum")
            one = F.kl_div(F.log_softmax(s / T, -1), F.log_softmax(q / T, -1), reduction="sum", log_target=True)
            gkd = GKDTrainer.generalized_jsd_loss(s[None], q[None], beta=0, temperature=T, reduction="sum")
            assert abs(float(one - gkd)) < 1e-9, (one, gkd)
            kl, n = kl + one, n + len(c) + 1
        return (alpha * ce + (1 - alpha) * T * T * kl) / n
    teacher = model(teacher_cfg, weights_of(teacher)) # as saved
    steps("distill", model(cfg, policy), distill, out)
    save("policy", cfg, out)

main()
