package main

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/hub"
)

func newPullCmd() *cobra.Command {
	var include, exclude []string
	var to string
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "pull ORG/NAME[@REVISION]",
		Short: "Fetch a model from the Hugging Face hub into the local cache, or into a folder",
		Long: "Fetch a model from the Hugging Face hub into the cache that Python's huggingface_hub uses too, or with --to into a folder of plain files, as\n" +
			"hf download --local-dir does. Broken downloads are resumed, checksums are checked. Without --include, what is needed to run the model is fetched:\n" +
			"configuration, tokenizer and one form of the weights. In patterns, * stands for any characters, ? for one, [abc] for one of these, [!abc] for\n" +
			"any other; sub/ means all files in sub.\n" +
			"HF_TOKEN opens private and gated models; HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE work as in Python.",
		Example: "  leo pull LeoLM/leo-hessianai-7b --to models/leo-hessianai-7b\n  leo pull LeoLM/leo-hessianai-7b-chat\n  leo pull TheBloke/leo-hessianai-7B-chat-GGUF --include '*Q4_K_M.gguf'",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			repo, err := hub.ParseRepo(hub.Model, args[0])
			if err != nil {
				return usageError{err}
			}
			client, err := hub.FromEnv()
			if err != nil {
				return err
			}
			client.Warn = func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), "note:", s) }
			p := newBytesProgress(cmd.ErrOrStderr(), quiet)
			choose := func(files []hub.File) ([]hub.File, error) {
				if len(include) == 0 {
					var err error
					if files, err = chooseModelFiles(files); err != nil {
						return nil, err
					}
				}
				if !quiet && len(files) > 0 {
					fmt.Fprintln(cmd.ErrOrStderr(), pullPlan(repo, files))
				}
				return files, nil
			}
			p.soon(time.Second)
			var res hub.SnapshotResult
			if to == "" {
				res, err = client.Snapshot(cmd.Context(), repo, include, exclude, choose, p.update)
			} else {
				res, err = client.SnapshotTo(cmd.Context(), repo, to, include, exclude, choose, p.update)
			}
			p.clear()
			if err != nil {
				return err
			}
			dir := res.Dir
			if len(res.Files) == 1 {
				dir = filepath.Join(dir, filepath.FromSlash(res.Files[0]))
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"repo": repo.ID, "commit": res.Commit, "path": dir, "files": res.Files})
			}
			_, err = fmt.Fprintln(exactWriter(cmd), dir)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&include, "include", nil, "fetch only files that match one of these patterns, such as '*.gguf'")
	cmd.Flags().StringSliceVar(&exclude, "exclude", nil, "leave out files that match one of these patterns")
	cmd.Flags().StringVar(&to, "to", "", "put the files themselves into this folder (default: the cache)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

// pullPlan describes what will be fetched.
func pullPlan(repo hub.Repo, files []hub.File) string {
	text := fmt.Sprintf("%s: %d files", repo, len(files))
	if len(files) == 1 {
		text = fmt.Sprintf("%s: %s", repo, files[0].Name)
	}
	var total int64
	for _, f := range files {
		if f.Size < 0 {
			return text
		}
		total += f.Size
	}
	return text + ", " + bytesText(total)
}

// The file names of the weights that checkpoint.Open reads: a repository often holds them a
// second time in another form or precision (consolidated.safetensors, model.fp16.safetensors).
var (
	safetensorsWeights = regexp.MustCompile(`^(model|adapter_model)(-\d+-of-\d+)?\.safetensors$`)
	torchWeights       = regexp.MustCompile(`^(pytorch_model(-\d+-of-\d+)?|adapter_model)\.bin$`)
	ggufPart           = regexp.MustCompile(`-\d+-of-\d+\.gguf$`)
)

// chooseModelFiles keeps what is needed to run a model: weights in one form
// (safetensors, else PyTorch, else a single GGUF), and the small files.
func chooseModelFiles(files []hub.File) ([]hub.File, error) {
	var safetensors, torch bool
	ggufs := map[string]string{} // by the name of a file, or of all its parts: a description
	var names []string
	for _, f := range files {
		safetensors = safetensors || safetensorsWeights.MatchString(f.Name)
		torch = torch || torchWeights.MatchString(f.Name)
		if strings.HasSuffix(f.Name, ".gguf") {
			key := ggufPart.ReplaceAllString(f.Name, "")
			if _, ok := ggufs[key]; !ok {
				names = append(names, key)
			}
			ggufs[key] += fmt.Sprintf("  %s (%s)\n", f.Name, bytesText(max(f.Size, 0)))
		}
	}
	if !safetensors && !torch && len(names) > 1 {
		var list strings.Builder
		for _, n := range names {
			list.WriteString(ggufs[n])
		}
		return nil, fmt.Errorf("the repository has %d GGUF models; choose with --include, such as --include '*Q4_K_M*':\n%s", len(names), strings.TrimSuffix(list.String(), "\n"))
	}
	var out []hub.File
	for _, f := range files {
		base, ext := path.Base(f.Name), path.Ext(f.Name)
		switch {
		case strings.HasPrefix(f.Name, "additional_chat_templates/"):
		case strings.Contains(f.Name, "/") && ext != ".gguf", strings.HasPrefix(base, "."):
			continue // original weights, images, exports for other programs
		}
		switch ext {
		case ".safetensors":
			// Weights under any other name are taken only if there are no others.
			if (safetensors || torch) && !safetensorsWeights.MatchString(f.Name) {
				continue
			}
		case ".bin":
			if safetensors || !torchWeights.MatchString(f.Name) {
				continue
			}
		case ".gguf":
			if safetensors || torch {
				continue
			}
		case ".json", ".model", ".jinja", ".txt", ".md":
			if strings.HasSuffix(base, ".index.json") && !wantedIndex(base, safetensors) {
				continue
			}
		default:
			if base != "LICENSE" {
				continue
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// wantedIndex reports whether an index belongs to the weights that are fetched.
func wantedIndex(name string, safetensors bool) bool {
	if safetensors {
		return name == "model.safetensors.index.json"
	}
	return name == "pytorch_model.bin.index.json" || name == "model.safetensors.index.json"
}
