package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"testing"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/converse"
	"leolm/dataset"
	"leolm/dataset/corpus"
	"leolm/dataset/shard"
	"leolm/device"
	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/infer"
	"leolm/internal/recipe"
	"leolm/internal/vulkan"
	"leolm/llama"
	"leolm/sample"

	"github.com/spf13/cobra"
)

func TestAdvise(t *testing.T) {
	for _, c := range []struct {
		cmd  []string
		err  error
		want string
	}{
		{[]string{"chat"}, catalog.ErrNoModel, "; name a folder, a .gguf file or a Hugging Face id with --model, or leo pull ORG/NAME fetches one"},
		{[]string{"chat"}, &catalog.NotFoundError{Arg: "org/name", HubID: true}, "; leo pull org/name fetches it"},
		{[]string{"chat"}, &catalog.NotFoundError{Arg: "x.gguf"}, ""},
		{[]string{"chat"}, &vulkan.LibraryError{Tried: []string{"libvulkan.so.1"}}, "; install Vulkan's loader and the driver of the GPU (Debian: libvulkan1, and mesa-vulkan-drivers or nvidia-vulkan-icd), or run on the processor with --device cpu"},
		{[]string{"chat"}, &vulkan.LibraryError{Errs: []error{vulkan.ErrNotBuilt}}, "; build Leo for Linux without the tags novulkan and nodl: go build ./cmd/leo"},
		{[]string{"chat"}, &vulkan.NoDeviceError{Index: 3, Found: 1}, "; leo version --devices lists them"},
		{[]string{"version"}, &vulkan.NoDeviceError{Index: -1}, "; install the driver of the GPU (Debian: mesa-vulkan-drivers or nvidia-vulkan-icd; NVIDIA's in a container: NVIDIA_DRIVER_CAPABILITIES=all)"},
		{[]string{"generate"}, &vulkan.LostError{}, "; start again; if it comes back, a newer driver may help, or run on the processor with --device cpu"},
		{[]string{"generate"}, &catalog.NoTokenizerError{Model: "m"}, "; give one with --tokenizer"},
		{[]string{"generate"}, &catalog.TokenizerError{Model: "m"}, "; give the one that it was trained with by --tokenizer"},
		{[]string{"generate"}, &catalog.TemplateError{Source: "m", Err: errors.New("line 1")}, "; choose another with --template"},
		{[]string{"chat"}, &llama.TargetError{}, "; leo convert --adapter folds it into the model"},
		{[]string{"chat"}, &converse.FullContextError{Turns: 2}, "; drop the oldest turns with --on-full drop, or raise --context if the model allows it"},
		{[]string{"chat"}, &converse.FullContextError{}, "; shorten it, or raise --context if the model allows it"},
		{[]string{"generate"}, &infer.ContextError{}, "; shorten the input, or raise --context if the model allows it"},
		{[]string{"generate"}, &device.MemoryError{}, "; choose a smaller --context, fewer --beams, or --cache-type q8_0"},
		{[]string{"eval", "perplexity"}, &device.MemoryError{}, "; choose a smaller --context, or --cache-type q8_0"},
		{[]string{"train"}, &device.MemoryError{}, "; smaller micro-batches, such as --set batch.micro=1, or --set compute.recompute=true"},
		{[]string{"generate"}, &sample.LogitsError{}, "; fetch or convert the model again, or try --cache-type f32"},
		{[]string{"generate"}, sample.ErrNoToken, "; ban fewer tokens with --ban-token, or lower --min-new-tokens"},
		{[]string{"train"}, &checkpoint.FormatError{Err: checkpoint.ErrPointer}, "; fetch it with git lfs pull, or leo pull ORG/NAME fetches the model"},
		{[]string{"train"}, &shard.NotFoundError{Err: fs.ErrNotExist}, "; leo data prepare writes them"},
		{[]string{"data", "prepare"}, &dataset.MissingError{Hub: "org/name"}, "; leo data pull fetches the files of org/name"},
		{[]string{"data", "prepare"}, &dataset.MissingError{}, ""},
		{[]string{"data", "corpus", "run"}, &corpus.NoPlanError{}, "; make one with leo data corpus plan"},
		{[]string{"data", "corpus", "plan"}, &corpus.OtherPlanError{}, "; replace it with --replace: tasks that stay the same are kept"},
		{[]string{"data", "corpus", "run"}, &corpus.ChangedError{}, "; make a new plan with leo data corpus plan"},
		{[]string{"data", "corpus", "show"}, &corpus.NoCorpusError{}, "; leo data corpus run finishes it"},
		{[]string{"data", "corpus", "run"}, &corpus.NotReadyError{}, "; wait for them with --wait"},
		{[]string{"train"}, &recipe.NotFoundError{Path: "x.yaml"}, "; give the path of a YAML file, such as those in recipes/ of Leo's repository"},
		{[]string{"train"}, recipe.Errors{{File: "x.yaml"}, {File: recipe.Assignment}}, "; keys are changed with --set key=value"},
		{[]string{"train"}, recipe.Errors{{File: "x.yaml"}}, ""},
		{[]string{"eval", "mtbench"}, &mtbench.CategoryError{}, "; say how to answer it with --temperature CATEGORY=VALUE"},
		{[]string{"eval", "mtbench"}, &mtbench.MissingReferenceError{}, "; give a file of answers with --references"},
		{[]string{"eval", "mtbench", "compare"}, &mtbench.MissingPromptError{}, "; choose other prompts with --judge-prompts; without it, Leo's own are used"},
		{[]string{"eval", "mtbench"}, &mtbench.OtherQuestionsError{}, "; name one with --output"},
		{[]string{"eval", "mtbench", "report"}, mtbench.ErrNotAnswered, "; leo eval mtbench asks a model"},
		{[]string{"eval", "mtbench", "judge"}, mtbench.ErrNotAnswered, "; leo eval mtbench asks a model, or --answers reads answers from a file"},
		{[]string{"eval", "mtbench", "judge"}, eval.ErrBudget, "; raise --judge-budget"},
		{[]string{"generate"}, errors.New("another"), ""},
	} {
		cmd, _, err := newRootCmd().Find(c.cmd)
		if err != nil {
			t.Fatal(err)
		}
		if got := advise(cmd, fmt.Errorf("outer: %w", c.err)); got != c.want {
			t.Errorf("%v: %T: %q, want %q", c.cmd, c.err, got, c.want)
		}
	}
}

func TestMessages(t *testing.T) {
	cmd, _, err := newRootCmd().Find([]string{"train"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("a fault"), "a fault"},
		{context.Canceled, "interrupted"},
		{fmt.Errorf("x.gguf: %w", context.Canceled), "interrupted"},
		{errors.Join(fmt.Errorf("x.gguf: %w", context.Canceled), nil), "interrupted"},
		{errors.Join(errors.New("a fault"), context.Canceled), "a fault\ncontext canceled"},
		{&recipe.NotFoundError{Path: "x.yaml"}, "there is no recipe x.yaml; give the path of a YAML file, such as those in recipes/ of Leo's repository"},
		{
			recipe.Errors{{File: recipe.Assignment, Line: 1, Column: 1, Message: "want key=value", Snippet: "    1 | lr\n      | ^"}},
			"set:1:1: want key=value\n    1 | lr\n      | ^\nkeys are changed with --set key=value",
		},
	} {
		if got := message(cmd, c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Every command and flag that advice names exists.
func TestAdviceExists(t *testing.T) {
	root := newRootCmd()
	src, err := os.ReadFile("hints.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`leo ([a-z]+)(?: --([a-z-]+))?`).FindAllStringSubmatch(string(src), -1) {
		cmd, rest, err := root.Find(m[1:2])
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no leo %s", m[1])
		} else if m[2] != "" && cmd.Flags().Lookup(m[2]) == nil {
			t.Errorf("leo %s has no --%s", m[1], m[2])
		}
	}
	for _, m := range regexp.MustCompile(`advice\{"([a-z-]+)"|\{"([a-z-]+)", "`).FindAllStringSubmatch(string(src), -1) {
		flag := m[1] + m[2]
		if !anyHas(root, flag) {
			t.Errorf("no command has --%s", flag)
		}
	}
}

// anyHas says whether cmd or a command below it has a flag.
func anyHas(cmd *cobra.Command, flag string) bool {
	return cmd.Flags().Lookup(flag) != nil || slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return anyHas(c, flag) })
}
