package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"leolm/catalog"
	"leolm/internal/shareddata"
)

// The documentation's commands are tested in two ways. Every leo command, in code blocks and in running text, must
// parse: its subcommands and flags exist. Every leo command in a code block runs, in a folder where tiny files
// bear the names that the pages use, unless parsedOnly says why not.

// parsedOnly lists commands of code blocks that do not run here, by their beginning, with the reason.
var parsedOnly = map[string]string{
	"leo data corpus run DIR --stage prep":       "a task of a plan with 18 tasks",
	"leo eval mtbench --model leo-13b-chat.gguf": "asks an endpoint to judge; mtbench_kill_test.go runs one",
	"leo eval mtbench compare":                   "as above; eval/mtbench/pair_test.go compares",
	"leo data translate":                         "needs an OpenAI-compatible server; dataset/translate_test.go runs one",
	"leo chat --model SmolLM2-135M-Instruct.Q4_1.gguf --preset greedy --json-schema": "a model of random weights never closes the object; whole_way.txt constrains with a regular expression",
	"leo chat -m SmolLM2-135M-Instruct.Q4_1.gguf -q --seed 1 --json-schema":          "as above",
	"leo version --devices":                         "needs Vulkan's loader; device/vulkan/test.sh runs it",
	"leo train recipes/mini-5min.yaml --device gpu": "needs Vulkan's loader, also for its plan; device/vulkan/test.sh trains on it",
	"leo chat --device":                             "needs Vulkan's loader; device/vulkan/test.sh runs models on it",
	"leo chat --gpu-layers":                         "as above",
	"leo train my.yaml":                             "shows mistakes; internal/recipe tests them",
	"leo bench --model FILE":                        "measures for a minute, beside llama.cpp; whole_way.txt runs leo bench",
	"leo eval germanbench --model leo-7b --output":  "needs the hub",
	"leo eval compare leo-7b leo-7b-q4.gguf":        "needs two models of one vocabulary; germanbench.txt compares some",
	"leo tokenizer train wiki":                      "16000 pieces need more text than fits here; tokenizer_train.txt trains",
}

// others are programs in code blocks that are not leo, with what is checked of them.
var others = map[string]string{
	"python": "the script exists", "node": "the script exists",
	"go": "the folders exist", "for": "shell", "do": "shell", "done": "shell", "dir=out/leo-mini/corpus/$s": "shell", "[": "shell", "dir=$dir-valid": "shell",
}

type docCommand struct {
	page  string // path from the repository's root
	line  int
	text  string
	block bool // from a code block, not from running text
}

func (c docCommand) String() string { return fmt.Sprintf("%s:%d: %s", c.page, c.line, c.text) }

var inlineCode = regexp.MustCompile("`([^`]+)`")

// docCommands finds the commands of a page: in code blocks the lines after "$ " or, if there are none, those that begin
// with a program's name; in running text whatever is in backquotes and begins with leo, go or python.
func docCommands(page, text string) []docCommand {
	var found []docCommand
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		fence, isFence := strings.CutPrefix(lines[i], "```")
		if !isFence {
			if body, ok := strings.CutPrefix(lines[i], "    "); ok && isCommand(body) {
				n, whole := joined(lines[i:])
				found = append(found, docCommand{page, i + 1, strings.TrimPrefix(strings.TrimSpace(whole), "$ "), true})
				i += n - 1
				continue
			}
			for _, m := range inlineCode.FindAllStringSubmatch(lines[i], -1) {
				if s := strings.ReplaceAll(m[1], `\|`, "|"); isCommand(s) || strings.HasPrefix(s, "--") {
					found = append(found, docCommand{page, i + 1, s, false})
				}
			}
			continue
		}
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
			body, prompted := strings.CutPrefix(lines[i], "$ ")
			if fence == "sh" {
				body = strings.TrimLeft(body, " ")
			}
			if !prompted && !isCommand(body) {
				continue
			}
			at := i + 1
			n, whole := joined(lines[i:])
			i += n - 1
			found = append(found, docCommand{page, at, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(whole), "$ ")), true})
		}
	}
	return found
}

// isCommand reports whether s begins like a command that is checked.
func isCommand(s string) bool {
	s = strings.TrimPrefix(s, "$ ")
	word, _, _ := strings.Cut(s, " ")
	return word == "leo" && !strings.HasPrefix(s, "leo  ") || others[word] != "" && strings.Contains(s, " ") && word != "for" && word != "do"
}

// joined joins a command that continues over several lines (a backslash at the end, or an open quote).
func joined(lines []string) (n int, whole string) {
	for n = 1; n <= len(lines); n++ {
		whole = strings.Join(lines[:n], "\n")
		if _, err := splitShell(whole); err == nil {
			return n, strings.ReplaceAll(whole, "\\\n", " ")
		}
	}
	return 1, lines[0]
}

var errOpen = errors.New("the command does not end on this line")

// splitShell cuts a command line into simple commands and those into words. It knows quotes, backslashes,
// comments, |, ;, && and redirections of files, which is what the pages use.
func splitShell(s string) ([][]string, error) {
	var out [][]string
	var words []string
	var word strings.Builder
	started := false
	endWord := func() {
		if started {
			words = append(words, word.String())
			word.Reset()
			started = false
		}
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			out = append(out, words)
			words = nil
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			if i+1 == len(s) {
				return nil, errOpen
			}
			if i++; s[i] != '\n' {
				word.WriteByte(s[i])
				started = true
			}
		case c == '\'' || c == '"':
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				return nil, errOpen
			}
			word.WriteString(s[i+1 : i+1+end])
			started = true
			i += 1 + end
		case c == ' ' || c == '\n':
			endWord()
		case c == '#' && !started:
			if end := strings.IndexByte(s[i:], '\n'); end >= 0 {
				i += end
				continue
			}
			endCommand()
			return out, nil
		case c == '|' || c == ';' || c == '&':
			endCommand()
		case (c == '>' || c == '<') && !started:
			// The file after it is not an argument.
			rest := strings.TrimLeft(s[i+1:], " ")
			end := strings.IndexAny(rest, " |;&")
			if end < 0 {
				end = len(rest)
			}
			i = len(s) - len(rest) + end - 1
		default:
			word.WriteByte(c)
			started = true
		}
	}
	if strings.HasSuffix(s, "\\") {
		return nil, errOpen
	}
	endCommand()
	return out, nil
}

// leoArgs returns the arguments for leo, if the command is one.
func leoArgs(words []string) ([]string, bool) {
	switch {
	case words[0] == "leo":
		return words[1:], true
	case len(words) > 2 && words[0] == "go" && words[1] == "run" && words[2] == "./cmd/leo":
		return words[3:], true
	}
	return nil, false
}

// parseLeo checks a command line against the commands and flags that exist.
func parseLeo(args []string, whole bool) error {
	root := newRootCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	left := cmd.Flags().Args()
	if cmd.HasSubCommands() && len(left) > 0 && cmd.Use == cmd.Name() { // leo serve takes models, too
		return fmt.Errorf("%s has no subcommand %q", cmd.CommandPath(), left[0])
	}
	if whole && cmd.Args != nil && !cmd.HasSubCommands() {
		return cmd.Args(cmd, left)
	}
	return nil
}

// flagExists looks for a flag in all commands.
func flagExists(cmd *cobra.Command, name string) bool {
	if cmd.Flags().Lookup(name) != nil || name == "help" {
		return true
	}
	return slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return flagExists(c, name) })
}

// pages returns the Markdown files of the repository with their texts.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != "../.." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "out" || name == "node_modules") {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel("../..", path)
			found[filepath.ToSlash(rel)] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found["README.md"] == "" || found["docs/tokenizer.md"] == "" {
		t.Fatalf("found only %d pages", len(found))
	}
	return found
}

func allDocCommands(t *testing.T) []docCommand {
	t.Helper()
	texts := pages(t)
	var all []docCommand
	for _, page := range sortedKeysOf(texts) {
		all = append(all, docCommands(page, texts[page])...)
	}
	return all
}

func sortedKeysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestDocumentedCommandsParse(t *testing.T) {
	n := 0
	for _, c := range allDocCommands(t) {
		if name, ok := strings.CutPrefix(c.text, "--"); ok {
			name = name[:len(name)-len(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz-0123456789"))]
			if !flagExists(newRootCmd(), name) && !foreignFlag(name) {
				t.Errorf("%v: no command has a flag --%s", c, name)
			}
			continue
		}
		commands, err := splitShell(c.text)
		if err != nil {
			t.Errorf("%v: %v", c, err)
		}
		for _, words := range commands {
			if args, ok := leoArgs(words); ok {
				n++
				if err := parseLeo(args, c.block); err != nil {
					t.Errorf("%v: %v", c, err)
				}
				continue
			}
			if err := checkOther(words); err != nil {
				t.Errorf("%v: %v", c, err)
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d leo commands found in the pages", n)
	}
}

// foreignFlag: flags in running text that belong to the programs of recipes/ and bench/.
func foreignFlag(name string) bool {
	for _, dir := range []string{"recipes", "bench"} {
		found := false
		_ = filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".py") || strings.HasSuffix(path, ".sh")) {
				data, err := os.ReadFile(path)
				found = found || err == nil && (bytes.Contains(data, []byte(`"`+name+`"`)) || bytes.Contains(data, []byte(`"--`+name+`"`)))
			}
			return nil
		})
		if found {
			return true
		}
	}
	return false
}

// checkOther checks what can be checked of other programs: that the files and folders they name exist.
func checkOther(words []string) error {
	if others[words[0]] == "" && !strings.Contains(words[0], "=") {
		return fmt.Errorf("%s is neither leo nor a program that this test knows", words[0])
	}
	for i, w := range words[1:] {
		goFolder := words[0] == "go" && strings.HasPrefix(w, "./") && w != "./..."
		script := (words[0] == "python" || words[0] == "node") && i == 0
		if !goFolder && !script {
			continue
		}
		if _, err := os.Stat(filepath.Join("../..", strings.TrimSuffix(w, "/..."))); err != nil {
			return err
		}
	}
	return nil
}

func TestDocumentedCommandsRun(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("needs a shell")
	}
	dir := docsFolder(t)
	used := map[string]bool{}
	ran := 0
	for _, c := range allDocCommands(t) {
		if !c.block || strings.HasPrefix(c.page, "recipes/leo-mini/") {
			continue // the steps of leo-mini build on each other for hours
		}
		if c.page == ownModelPage {
			continue // TestOwnModelPage follows it
		}
		line, ok := runnable(c.text)
		if !ok {
			continue
		}
		if begin := notRun(c.text); begin != "" {
			used[begin] = true
			continue
		}
		ran++
		start := time.Now()
		if out, err := runShell(dir, line); err != nil {
			t.Errorf("%v\nran as: %s\n%v\n%s", c, line, err, out)
		}
		t.Logf("%4d ms  %s", time.Since(start).Milliseconds(), line)
	}
	for begin := range parsedOnly {
		if !used[begin] {
			t.Errorf("parsedOnly has %q, which no page has", begin)
		}
	}
	if ran < 30 {
		t.Errorf("only %d commands ran", ran)
	}
}

// notRun returns the entry of parsedOnly for a command.
func notRun(text string) string {
	text = strings.Replace(text, "go run ./cmd/leo ", "leo ", 1)
	for begin := range parsedOnly {
		if strings.HasPrefix(text, begin) {
			return begin
		}
	}
	return ""
}

// runnable turns a documented line into what runs here: trainings are only planned.
func runnable(text string) (string, bool) {
	text = strings.Replace(text, "go run ./cmd/leo ", "leo ", 1)
	commands, err := splitShell(text)
	if err != nil || len(commands) == 0 {
		return "", false
	}
	for _, words := range commands {
		if words[0] != "leo" {
			return "", false
		}
	}
	if len(commands) == 1 && (len(commands[0]) < 3 || commands[0][1] == "serve" && commands[0][2] != "key") && commands[0][len(commands[0])-1] != "--print-config" && slices.Contains(commands[0], "serve") {
		return text + " --print-config", true // TestServePages runs servers
	}
	if len(commands) == 1 && len(commands[0]) > 2 && commands[0][1] == "train" && !strings.Contains(text, "--plan") && !strings.Contains(text, "--print") && !strings.Contains(text, "--emit") {
		// In front of a comment at the end of the line.
		return strings.Replace(text, "leo train", "leo train --plan", 1), true
	}
	return text, true
}

func runShell(dir, line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "HF_HOME="+dir, "XDG_CACHE_HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte(catalog.ErrNoModel.Error())) {
		err = nil // a build without the embedded model says so
	}
	return string(out), err
}

// mtbenchExample are files in the layouts of MT-Bench, with two questions.
var mtbenchExample = map[string]string{
	"questions_de.json": `{"81": {"category": "writing", "turns": ["Schreib etwas.", "Kürzer."]}, "82": {"category": "stem", "turns": ["Warum?", "Wozu?"]}}`,
	"judge_prompts_de.json": `{"single-v1": {"system_prompt": "s", "prompt_template": "{question} {answer}"},
"single-v1-multi-turn": {"system_prompt": "s", "prompt_template": "{question_1} {answer_1} {question_2} {answer_2}"}}`,
	"answers.json":       `{"81": ["Etwas.", "Was."], "82": ["Darum.", "Dazu."]}`,
	"judge-replies.json": mtbenchReplies(8, 3, 9, 5),
	"second-judge.json":  mtbenchReplies(7, 4, 9, 6),
}

func mtbenchReplies(ratings ...int) string {
	var list []string
	for i, r := range ratings {
		list = append(list, fmt.Sprintf(`{"question_id": "%d", "turn_number": %d, "judge_reply": "Gut. [[%d]]"}`, 81+i%2, i/2, r))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// namedRecipe is a recipe whose first line says which file it is.
var namedRecipe = regexp.MustCompile("(?s)```yaml\n# ([a-z]+\\.yaml)\n(.*?)```")

// docsFolder makes a folder where the files that the pages name exist, all of them tiny.
func docsFolder(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "work")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o777))
		must(os.WriteFile(path, data, 0o666))
	}
	leo := func(line string) {
		t.Helper()
		if out, err := runShell(dir, line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	sentences := []string{"Der Mond scheint hell über dem stillen Wald, und die Eule ruft.", "Ein alter Mann sitzt am Fluss und wartet auf den Regen.",
		"Die Katze schläft auf der warmen Mauer vor dem kleinen Haus.", "Im Herbst fallen die Blätter, und der Wind trägt sie weit fort.",
		"Das Brot liegt noch warm auf dem Tisch in der hellen Küche.", "Wer früh aufsteht, sieht die Sonne über den Hügeln aufgehen."}
	var texts, pairs strings.Builder
	for i := range 120 {
		a, b := sentences[i%len(sentences)], sentences[(i/len(sentences))%len(sentences)]
		fmt.Fprintf(&texts, "{\"title\": \"Nummer %d\", \"text\": \"%d. %s %s\"}\n", i, i, a, b)
		fmt.Fprintf(&pairs, "{\"question\": \"Was steht auf Seite %d?\", \"answer\": \"%s %s\"}\n", i, a, b)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(texts.String()))
	must(err)
	must(z.Close())

	write("paare.jsonl", []byte(pairs.String()))
	write("texte.jsonl", []byte(texts.String()))
	for _, n := range []string{"klexikon", "wikipedia_subset", "novels_eltec", "maerchen_textgrid", "maerchen_grimm", "maerchen_andersen", "saetze_cc0", "gedichte_dlk_1790ff"} {
		write("data/corpus_de/"+n+".jsonl.gz", packed.Bytes())
		write(n+".jsonl.gz", packed.Bytes())
	}
	leo("leo tokenizer train texte.jsonl --output tokenizer.model --vocab-size 320 --control '<|im_start|>,<|im_end|>'")
	tok, err := os.ReadFile(filepath.Join(dir, "tokenizer.model"))
	must(err)
	for _, n := range []string{"llama2.model", "leo-16k.model", "models/leo-mini/tokenizer.model", "data/tokenizer/llama2.model", "FOLDER/tokenizer.model"} {
		write(n, tok)
	}
	for _, n := range []string{"config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join("../../checkpoint/testdata/models/small", n))
		must(err)
		write("FOLDER/"+n, data)
	}
	write("FOLDER/special_tokens_map.json", []byte(`{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}`))
	leo("leo convert FOLDER model.gguf --dtype f32 -q")
	model, err := os.ReadFile(filepath.Join(dir, "model.gguf"))
	must(err)
	for _, n := range []string{"SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2.gguf", "stories260K.gguf", "gpt2-vocab.gguf", "FILE", "MODEL", "model.gguf", "models/leo-mini/leo-mini.gguf", "leo-mini.gguf"} {
		write(n, model)
	}
	write("mine.tmpl", []byte(`{{define "limitations"}}None known.{{end}}`))
	write("my.jinja", []byte("{% for m in messages %}{{ m.content }}{% endfor %}"))
	write("t300", []byte("Es war einmal"))
	write("text.txt", []byte("Der Mond ist rot."))
	write("land.json", []byte(`{"type": "boolean"}`))
	for name, text := range mtbenchExample {
		write(name, []byte(text))
	}
	for _, n := range []string{"recipes", "bench", "checkpoint"} {
		abs, err := filepath.Abs("../../" + n)
		must(err)
		must(os.Symlink(abs, filepath.Join(dir, n)))
	}
	data, err := os.ReadFile("../../docs/data.md")
	must(err)
	_, mix, _ := strings.Cut(string(data), "```yaml\n")
	mix, _, _ = strings.Cut(mix, "```")
	write("mix.yaml", []byte(mix))
	write("pairs.jsonl", []byte(strings.Repeat(`{"prompt": "Wo ist der Mond?", "chosen": "Über dem Wald.", "rejected": "Im Haus."}`+"\n", 4)))
	write("judged.jsonl", []byte(strings.Repeat(`{"prompt": "Wo ist der Mond?", "completion": "Über dem Wald.", "label": true}`+"\n", 4)))
	for _, page := range []string{"training", "card", "germanbench"} {
		data, err = os.ReadFile("../../docs/" + page + ".md")
		must(err)
		for _, m := range namedRecipe.FindAllStringSubmatch(string(data), -1) {
			write(m[1], []byte(m[2]))
		}
	}
	_, suite, _ := strings.Cut(string(data), "```jsonl\n")
	suite, _, _ = strings.Cut(suite, "```")
	write("release.jsonl", []byte(suite))
	write("mgsm_de.tsv", []byte("Anna hat 2 Äpfel und kauft 3. Wie viele hat sie?\t5\n"))
	for _, n := range []string{"fragen.jsonl", "beispiele.jsonl"} {
		write(n, []byte(`{"frage": "Wie heißt die Hauptstadt von Österreich?", "antworten": ["Graz", "Wien"], "richtig": 1}`+"\n"))
	}
	documents, err := filepath.Abs("../../eval/germanbench/testdata/documents")
	must(err)
	must(os.Symlink(documents, filepath.Join(dir, "documents")))
	return dir
}

// Examples whose output is the same on every machine, by the beginning of their command, with the files that they need:
// a name in the folder, and where it comes from. Shared data may be missing.
var shownOutputs = []struct {
	begin, file, from string
	shared            bool
}{
	{begin: "leo chat --preset greedy"},
	{begin: "leo train recipes/leo-13b-chat.yaml --plan", file: "recipes", from: "../../recipes"},
	{begin: "leo tokenizer encode models/leo-mini", file: "models", from: "../../models"},
	{begin: "leo generate --model stories260K.gguf", file: "stories260K.gguf", from: "data/models/stories260K.gguf", shared: true},
}

// The pages show what is printed: the lines of an example occur in the output, in this order. An … matches anything.
func TestDocumentedOutputs(t *testing.T) {
	ran := map[string]bool{}
	for page, text := range pages(t) {
		for _, c := range docCommands(page, text) {
			if !c.block {
				continue
			}
			for _, x := range shownOutputs {
				if !strings.HasPrefix(c.text, x.begin) {
					continue
				}
				want := shownBelow(text, c)
				if len(want) == 0 {
					continue
				}
				ran[x.begin] = true
				from := x.from
				if x.shared {
					from = filepath.Join(shareddata.Folder(t), from)
				}
				t.Run(fmt.Sprintf("%s:%d", page, c.line), func(t *testing.T) {
					dir := t.TempDir()
					if x.file != "" {
						abs, err := filepath.Abs(from)
						if err != nil {
							t.Fatal(err)
						}
						if _, err := os.Stat(abs); err != nil && x.shared {
							t.Skipf("needs the project's shared data: %v", err)
						}
						if err := os.Symlink(abs, filepath.Join(dir, x.file)); err != nil {
							t.Fatal(err)
						}
					}
					out, err := runShell(dir, c.text)
					if err != nil {
						t.Fatalf("%v: %v\n%s", c, err, out)
					}
					if missing, ok := hasLines(out, want); !ok {
						t.Errorf("%v: the page shows %q, which is not printed there:\n%s", c, missing, out)
					}
				})
			}
		}
	}
	for _, x := range shownOutputs {
		if !ran[x.begin] {
			t.Errorf("no page shows what %q prints", x.begin)
		}
	}
}

// shownBelow is what a page shows below a command, up to the next one.
func shownBelow(text string, c docCommand) []string {
	var out []string
	for _, line := range strings.Split(text, "\n")[c.line-1+strings.Count(c.text, "\n")+1:] {
		if strings.HasPrefix(line, "```") || strings.HasPrefix(line, "$ ") || isCommand(line) {
			break
		}
		if strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return out
}

// hasLines looks for lines in an output, in their order.
func hasLines(out string, want []string) (missing string, ok bool) {
	lines := strings.Split(out, "\n")
	for _, w := range want {
		parts := strings.Split(w, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		form := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		i := slices.IndexFunc(lines, form.MatchString)
		if i < 0 {
			return w, false
		}
		lines = lines[i+1:]
	}
	return "", true
}

// A test of the test: what it must detect.
func TestWrongCommandsInPagesAreNoticed(t *testing.T) {
	for text, bad := range map[string]bool{
		"leo chat --template fastchat 'Wer?'":     false,
		"leo chat --tempalte fastchat 'Wer?'":     true,
		"leo caht":                                true,
		"leo data corpse run x":                   true,
		"leo data corpus run":                     true,
		"leo inspect model.gguf --context vier":   true,
		"leo inspect a b":                         true,
		"leo tokenizer encode t 'x' | leo decode": true,
	} {
		commands, err := splitShell(text)
		if err != nil {
			t.Fatal(err)
		}
		failed := false
		for _, words := range commands {
			args, _ := leoArgs(words)
			failed = failed || parseLeo(args, true) != nil
		}
		if failed != bad {
			t.Errorf("%s: noticed %v, want %v", text, failed, bad)
		}
	}
	page := "```\n$ leo chat \\\n  -q \"Wer\nbist du?\" > x # y\noutput\n```\ntext `leo inspect --json` and `--top-p`\n\n    leo train x.yaml\n"
	var got []string
	for _, c := range docCommands("p", page) {
		got = append(got, fmt.Sprintf("%d %v %s", c.line, c.block, c.text))
	}
	want := []string{"2 true leo chat    -q \"Wer\nbist du?\" > x # y", "7 false leo inspect --json", "7 false --top-p", "9 true leo train x.yaml"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	for want, ok := range map[string]bool{"a 1 b": true, "a … b": true, "a 2 b": false, "c": true, "c\na 1 b": false} {
		if _, got := hasLines("a 1 b\nc\n", strings.Split(want, "\n")); got != ok {
			t.Errorf("%q is shown: %v, want %v", want, got, ok)
		}
	}
	var f *pflag.Flag
	if f = newRootCmd().Flags().Lookup("nowhere"); f != nil || flagExists(newRootCmd(), "nowhere") {
		t.Error("a flag that no command has was found")
	}
}
