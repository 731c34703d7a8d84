package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"leolm/card"
	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/converse"
	"leolm/dataset"
	"leolm/dataset/corpus"
	"leolm/dataset/shard"
	"leolm/device"
	"leolm/device/split"
	"leolm/eval"
	"leolm/eval/compare"
	"leolm/eval/harness"
	"leolm/eval/mtbench"
	"leolm/eval/report"
	"leolm/infer"
	"leolm/internal/cluster"
	"leolm/internal/recipe"
	"leolm/internal/vulkan"
	"leolm/llama"
	"leolm/open"
	"leolm/sample"
	"leolm/serve"
	"leolm/train"
)

// advice is one thing that helps against an error.
type advice struct {
	flag string // the flag that it needs: a command without it does not give this advice; "" for none
	text string
}

// hints maps errors to what helps against them. The libraries report what is wrong, in numbers; only this program knows
// the flags and commands that change it. The first entry that matches counts.
var hints = []func(error) []advice{
	is(catalog.ErrNoModel,
		advice{"model", "name a folder, a .gguf file or a Hugging Face id with --model"},
		advice{"", "leo pull ORG/NAME fetches one"}),
	as(func(e *catalog.NotFoundError) []advice {
		if !e.HubID {
			return nil
		}
		return []advice{{"", "leo pull " + e.Arg + " fetches it"}}
	}),
	is(checkpoint.ErrPointer,
		advice{"", "fetch it with git lfs pull"},
		advice{"", "leo pull ORG/NAME fetches the model"}),
	as(func(*shard.NotFoundError) []advice {
		return []advice{{"", "leo data prepare writes them"}}
	}),
	as(func(e *dataset.MissingError) []advice {
		if e.Hub == "" {
			return nil
		}
		return []advice{{"", "leo data pull fetches the files of " + e.Hub}}
	}),
	as(func(*corpus.NoPlanError) []advice {
		return []advice{{"", "make one with leo data corpus plan"}}
	}),
	as(func(*corpus.OtherPlanError) []advice {
		return []advice{{"replace", "replace it with --replace: tasks that stay the same are kept"}}
	}),
	as(func(*corpus.ChangedError) []advice {
		return []advice{{"", "make a new plan with leo data corpus plan"}}
	}),
	as(func(*corpus.NoCorpusError) []advice {
		return []advice{{"", "leo data corpus run finishes it"}}
	}),
	as(func(*corpus.NotReadyError) []advice {
		return []advice{{"wait", "wait for them with --wait"}}
	}),
	as(func(*recipe.NotFoundError) []advice {
		return []advice{{"", "give the path of a YAML file, such as those in recipes/ of Leo's repository"}}
	}),
	assignment,
	as(func(*catalog.NoTokenizerError) []advice {
		return []advice{{"tokenizer", "give one with --tokenizer"}}
	}),
	as(func(*catalog.TokenizerError) []advice {
		return []advice{{"tokenizer", "give the one that it was trained with by --tokenizer"}}
	}),
	as(func(*catalog.TemplateError) []advice {
		return []advice{{"template", "choose another with --template"}}
	}),
	as(func(*llama.TargetError) []advice {
		return []advice{{"", "leo convert --adapter folds it into the model"}}
	}),
	as(func(e *converse.FullContextError) []advice {
		if e.Turns == 0 {
			return []advice{{"", "shorten it"}, {"context", "raise --context if the model allows it"}}
		}
		return []advice{{"on-full", "drop the oldest turns with --on-full drop"}, {"context", "raise --context if the model allows it"}}
	}),
	as(func(*mtbench.CategoryError) []advice {
		return []advice{{"temperature", "say how to answer it with --temperature CATEGORY=VALUE"}}
	}),
	as(func(*mtbench.MissingReferenceError) []advice {
		return []advice{{"references", "give a file of answers with --references"}}
	}),
	as(func(*mtbench.MissingPromptError) []advice {
		return []advice{{"judge-prompts", "choose other prompts with --judge-prompts; without it, Leo's own are used"}}
	}),
	as(func(*mtbench.OtherQuestionsError) []advice {
		return []advice{{"output", "name one with --output"}}
	}),
	is(mtbench.ErrNotAnswered,
		advice{"", "leo eval mtbench asks a model"},
		advice{"answers", "--answers reads answers from a file"}),
	is(eval.ErrBudget,
		advice{"budget", "raise --budget"}, advice{"judge-budget", "raise --judge-budget"}),
	as(func(*infer.ContextError) []advice {
		return []advice{{"", "shorten the input"}, {"context", "raise --context if the model allows it"}}
	}),
	as(func(e *device.MemoryError) []advice {
		if e.On != "" {
			return []advice{{"gpu-layers", "run a part of the model on the processor with --gpu-layers auto or --gpu-layers N"}, {"context", "choose a smaller --context"},
				{"set", "smaller micro-batches, such as --set batch.micro=1, or --set compute.recompute=true"}}
		}
		return []advice{{"context", "choose a smaller --context"}, {"beams", "fewer --beams"}, {"cache-type", "--cache-type q8_0"},
			{"set", "smaller micro-batches, such as --set batch.micro=1, or --set compute.recompute=true"}}
	}),
	as(func(*serve.CutError) []advice {
		return []advice{{"drain", "give them longer with --drain"}}
	}),
	as(func(*sample.LogitsError) []advice {
		return []advice{{"", "fetch or convert the model again"}, {"cache-type", "try --cache-type f32"}}
	}),
	as(func(e *harness.NoDataError) []advice {
		return []advice{{"data", "name a folder with files such as arc_de/test.jsonl with --data"}}
	}),
	as(func(*harness.FewExamplesError) []advice {
		return []advice{{"num-fewshot", "ask for fewer examples with --num-fewshot"}}
	}),
	is(card.ErrNoLicense,
		advice{"license", "give the hub's id of it with --license"}),
	as(func(*card.NoLicenseError) []advice {
		return []advice{{"config", "name it under datasets in a file given with --config"}}
	}),
	as(func(*card.OtherModelError) []advice {
		return []advice{{"config", "say whose it is under results, with of, in a file given with --config"}}
	}),
	as(func(*card.IncompleteError) []advice {
		return []advice{{"", "leo eval goes on where it was, without a limit"}}
	}),
	as(func(*compare.VocabularyError) []advice {
		return []advice{{"", "leo eval perplexity compares them in bits per byte"}}
	}),
	as(func(*report.NoResultsError) []advice {
		return []advice{{"", "leo eval leaves one with --output"}}
	}),
	as(func(*cluster.SizeError) []advice {
		return []advice{{"", "LEO_MPI names the launcher's own library"}}
	}),
	as(func(*cluster.LibraryError) []advice {
		return []advice{{"", "install one (Debian: openmpi-bin or mpich)"}, {"", "name its file with LEO_MPI"}}
	}),
	is(cluster.ErrNoMPI,
		advice{"", "take the program of a release's archive for linux with glibc in its name, or build one without the tag nodl: go build ./cmd/leo"}),
	is(vulkan.ErrNotBuilt,
		advice{"", "build Leo for Linux without the tags novulkan and nodl: go build ./cmd/leo"}),
	as(func(*vulkan.LibraryError) []advice {
		return []advice{{"", "install Vulkan's loader and the driver of the GPU (Debian: libvulkan1, and mesa-vulkan-drivers or nvidia-vulkan-icd)"},
			{"device", "run on the processor with --device cpu"}}
	}),
	as(func(e *vulkan.NoDeviceError) []advice {
		if e.Found > 0 {
			return []advice{{"", "leo version --devices lists them"}}
		}
		return []advice{{"", "install the driver of the GPU (Debian: mesa-vulkan-drivers or nvidia-vulkan-icd; NVIDIA's in a container: NVIDIA_DRIVER_CAPABILITIES=all)"},
			{"device", "run on the processor with --device cpu"}}
	}),
	as(func(*vulkan.FeatureError) []advice {
		return []advice{{"device", "run on the processor with --device cpu"}}
	}),
	as(func(*vulkan.LostError) []advice {
		return []advice{{"", "start again; if it comes back, a newer driver may help"}, {"device", "run on the processor with --device cpu"}}
	}),
	is(open.ErrRanksOnGPU,
		advice{"device", "run them with --device cpu"}),
	as(func(*llama.SplitError) []advice {
		return []advice{{"", "start other ranks with mpirun -n N"}}
	}),
	as(func(e *train.TensorError) []advice {
		if e.Ranks > 0 {
			return []advice{{"set", "start a multiple of parallel.tensor, or change it with --set parallel.tensor=N"}}
		}
		return []advice{{"set", "choose fewer with --set parallel.tensor=N; more ranks can share the batch instead"}}
	}),
	as(func(*split.BlocksError) []advice {
		return []advice{{"set", "train with --set optimizer.bits=32, or another parallel.tensor"}}
	}),
	as(func(*train.PartsError) []advice {
		return []advice{{"set", "choose other ranks"}, {"set", "set parallel.parts to a multiple of them with --set parallel.parts=N"}}
	}),
	is(sample.ErrNoToken,
		advice{"ban-token", "ban fewer tokens with --ban-token"},
		advice{"min-new-tokens", "lower --min-new-tokens"}),
}

// assignment matches what is wrong with a value of --set.
func assignment(err error) []advice {
	var all recipe.Errors
	if !errors.As(err, &all) || !slices.ContainsFunc(all, func(e *recipe.Error) bool { return e.File == recipe.Assignment }) {
		return nil
	}
	return []advice{{"set", "keys are changed with --set key=value"}}
}

// as matches errors of type E.
func as[E error](f func(E) []advice) func(error) []advice {
	return func(err error) []advice {
		var e E
		if errors.As(err, &e) {
			return f(e)
		}
		return nil
	}
}

// is matches one error.
func is(target error, a ...advice) func(error) []advice {
	return func(err error) []advice {
		if errors.Is(err, target) {
			return a
		}
		return nil
	}
}

// advise returns the end of a message about err: what the user of cmd can do, or "".
func advise(cmd *cobra.Command, err error) string {
	for _, hint := range hints {
		var texts []string
		for _, a := range hint(err) {
			if a.flag == "" || cmd.Flags().Lookup(a.flag) != nil {
				texts = append(texts, a.text)
			}
		}
		switch n := len(texts); n {
		case 0:
		case 1:
			return "; " + texts[0]
		default:
			return "; " + strings.Join(texts[:n-1], ", ") + ", or " + texts[n-1]
		}
	}
	return ""
}
