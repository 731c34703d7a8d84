// llama.cpp's side (npm node-llama-cpp): writes the answers that all others follow, and its own logits.
//   node llamacpp.mjs MODEL.gguf prompts.json text.txt OUT [auto|on|off] [threads] [seconds]
// It stops after so many seconds; started again, it goes on with what is missing.
// OUT/ids.json: the ids of prompts, answers and text; kept if it exists, so that every run follows the same answers.
// OUT/llamacpp-FLASH.logits: float32 [positions][vocabulary]; OUT/llamacpp-FLASH.text: float32 log-probabilities.
// The cache of keys and values is f16, llama.cpp's default.
import fs from "node:fs";
import {createRequire} from "node:module";
import path from "node:path";

const {getLlama, LlamaLogLevel} = await import(createRequire(process.cwd() + "/").resolve("node-llama-cpp"));
const [,, modelPath, promptFile, textFile, out, flash = "auto", threads = "2", seconds = "1e9"] = process.argv;
const end = performance.now() + 1000 * seconds;
const answerLength = 128, windowLength = 512;
const system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"; // of the model's own template

const llama = await getLlama({build: "never", gpu: false, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({
    contextSize: 1024, batchSize: 512, threads: +threads, flashAttention: flash === "auto" ? "auto" : flash === "on",
    experimentalKvCacheKeyType: "F16", experimentalKvCacheValueType: "F16"
});
const sequence = context.getSequence();
const raw = {temperature: 0, topK: 0, topP: 1, minP: 0}; // no filter before the logits are read

const idsFile = path.join(out, "ids.json");
const known = fs.existsSync(idsFile);
const ids = known ? JSON.parse(fs.readFileSync(idsFile)) : {model: path.basename(modelPath), prompts: [], windows: []};
if (!known) {
    for (const p of JSON.parse(fs.readFileSync(promptFile))) {
        const text = `<|im_start|>system\n${system}<|im_end|>\n<|im_start|>user\n${p}<|im_end|>\n<|im_start|>assistant\n`;
        ids.prompts.push({prompt: model.tokenize(text, true), answer: []});
    }
    const all = model.tokenize(fs.readFileSync(textFile, "utf8"), false);
    for (let i = 0; i + windowLength <= all.length; i += windowLength) ids.windows.push(all.slice(i, i + windowLength));
}

const logitsPath = path.join(out, `llamacpp-${flash}.logits`);
const complete = known && fs.existsSync(logitsPath) && fs.statSync(logitsPath).size === 4 * ids.vocabulary * answerLength * ids.prompts.length;
const logitsFile = fs.openSync(logitsPath, complete ? "a" : "w");
let vocabulary = 0;
for (const p of complete ? [] : ids.prompts) {
    await sequence.clearHistory();
    let feed = p.prompt;
    for (let i = 0; i < answerLength; i++) {
        const items = feed.map((t, k) => k === feed.length - 1 ? [t, {generateNext: {token: true, logits: true, options: raw}}] : t);
        const {next} = (await sequence.controlledEvaluate(items)).at(-1);
        vocabulary ||= next.logits.size;
        const row = new Float32Array(vocabulary).fill(NaN);
        for (const [t, v] of next.logits) row[t] = v;
        if (next.logits.size !== vocabulary || row.some(Number.isNaN)) throw new Error("not all logits came");
        fs.writeSync(logitsFile, row);
        if (!known) p.answer.push(next.token ?? next.logits.keys().next().value); // null stands for an end of text
        feed = [p.answer[i]];
    }
    process.stderr.write(".");
}
fs.closeSync(logitsFile);

ids.vocabulary ||= vocabulary;
if (!known) fs.writeFileSync(idsFile, JSON.stringify(ids));

const textOut = fs.openSync(path.join(out, `llamacpp-${flash}.text`), "a");
const done = fs.fstatSync(textOut).size / 4 / (windowLength - 1);
for (const w of ids.windows.slice(done)) {
    if (performance.now() > end) break;
    await sequence.clearHistory();
    const items = w.map((t, i) => i + 1 === w.length ? t :
        // The selected token is the likeliest; includeMax of version 3.22 leaves it out unless it is asked for by id.
        [t, {generateNext: {totalLogitWeight: true, logits: {filter: {tokens: [w[i + 1]], includeSelected: true}}, options: raw}}]);
    const got = await sequence.controlledEvaluate(items);
    fs.writeSync(textOut, Float32Array.from(items.slice(0, -1), (_, i) => {
        const {logits, totalLogitWeight} = got[i].next;
        return logits.get(w[i + 1]) - Math.max(...logits.values()) - Math.log(totalLogitWeight);
    }));
    process.stderr.write("·");
}
console.log(`flash attention ${context.flashAttention}, ${fs.fstatSync(textOut).size / 4 / (windowLength - 1)} of ${ids.windows.length} windows`);
process.exit(0);
