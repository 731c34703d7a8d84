"""Prints bytefallback.json: what tokenizers 0.23 makes of characters without a piece when byte_fallback is set and the
vocabulary has none, some or all of the bytes. The keys are: bytes, fuse_unk, whether there is an unk_token."""
import json
from tokenizers import Tokenizer
out={}
def bp(b): return "<0x%02X>"%b
for kind,bytes_ in (("none",[]),("some",[0xC3,0xA4,0x41,0xF0,0x9F]),("all",range(256))):
  for fuse in (False,True):
    for unk in ("<unk>",None):
      vocab={}
      for p in ["<unk>","<s>","a","b","c","▁","ab","▁a","▁ab"]+[bp(b) for b in bytes_]: vocab[p]=len(vocab)
      f={"version":"1.0","added_tokens":[{"id":0,"content":"<unk>","single_word":False,"lstrip":False,"rstrip":False,"normalized":False,"special":True}],
       "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
       "pre_tokenizer":None,"post_processor":None,"decoder":None,
       "model":{"type":"BPE","dropout":None,"unk_token":unk,"continuing_subword_prefix":None,"end_of_word_suffix":None,"fuse_unk":fuse,"byte_fallback":True,"ignore_merges":False,
        "vocab":vocab,"merges":[["a","b"],["▁","a"],["▁","ab"]]}}
      t=Tokenizer.from_str(json.dumps(f))
      out[f"{kind},{fuse},{unk is not None}"]={"file": f, "ids": {s: t.encode(s).ids for s in ["ab","aäb","xäA","xyz abx","ä😀x","xAb","ax","😀😀","A"]}}
print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in out.items()) + "\n}")
