// Times llama.cpp (npm node-llama-cpp) on a GGUF file and prints one JSON line:
// tokens per second of reading a prompt and of generating, over all sequences.
// node llamacpp.mjs '{"model": "m.gguf", "threads": 2, "prompt": 512, "generate": 32, "sequences": 1, "flash": true, "mmap": true}'
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const o = JSON.parse(process.argv[2]);
const llama = await getLlama({build: "never", gpu: false, logLevel: LlamaLogLevel.error, maxThreads: o.threads});
const model = await llama.loadModel({modelPath: o.model, useMmap: o.mmap});
const context = await model.createContext({
    contextSize: o.prompt + o.generate + 8, sequences: o.sequences, batchSize: Math.min(512, Math.max(32, o.prompt)), threads: o.threads, flashAttention: o.flash
});
const sequences = Array.from({length: o.sequences}, () => context.getSequence());
const tokens = Array.from({length: o.prompt}, (_, i) => 300 + (i * 37) % o.vocab);

async function once() {
    const start = performance.now(), first = [], last = [];
    await Promise.all(sequences.map(async (s, k) => {
        await s.clearHistory();
        let n = 0;
        for await (const _ of s.evaluate(tokens, {temperature: 0})) {
            if (n === 0) first[k] = performance.now();
            last[k] = performance.now();
            if (++n > o.generate) break;
        }
    }));
    const read = Math.max(...first), end = Math.max(...last);
    return {prefill: o.prompt * o.sequences / (read - start) * 1000, decode: o.generate * o.sequences / (end - read) * 1000};
}

await once();
console.log(JSON.stringify(await once()));
process.exit(0);
