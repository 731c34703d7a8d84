package main

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"leolm/internal/hub"
)

func newPullCmd() *cobra.Command {
	var include, exclude []string
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "pull ORG/NAME[@REVISION]",
		Short: "Fetch a model from the Hugging Face hub into the local cache",
		Long: "Fetch a model from the Hugging Face hub into the cache that Python's huggingface_hub uses too. Broken downloads are resumed, checksums are\n" +
			"checked. Without --include, what is needed to run the model is fetched: configuration, tokenizer and one form of the weights.\n" +
			"HF_TOKEN opens private and gated models; HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE work as in Python.",
		Example: "  leo pull LeoLM/leo-hessianai-7b-chat\n  leo pull TheBloke/leo-hessianai-7B-chat-GGUF --include '*Q4_K_M.gguf'",
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
			choose := chooseModelFiles
			if len(include) > 0 {
				choose = nil
			}
			p := newBytesProgress(cmd.ErrOrStderr(), quiet)
			res, err := client.Snapshot(cmd.Context(), repo, include, exclude, choose, p.update)
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

// chooseModelFiles keeps what is needed to run a model: weights in one form
// (safetensors, else PyTorch, else a single GGUF), and the small files.
func chooseModelFiles(files []hub.File) ([]hub.File, error) {
	var safetensors, torch bool
	var ggufs []string
	for _, f := range files {
		top := !strings.Contains(f.Name, "/")
		safetensors = safetensors || top && strings.HasSuffix(f.Name, ".safetensors")
		torch = torch || top && strings.HasPrefix(f.Name, "pytorch_model") && strings.HasSuffix(f.Name, ".bin")
		if strings.HasSuffix(f.Name, ".gguf") {
			ggufs = append(ggufs, fmt.Sprintf("  %s (%s)", f.Name, bytesText(max(f.Size, 0))))
		}
	}
	if !safetensors && !torch && len(ggufs) > 1 {
		return nil, fmt.Errorf("the repository has %d GGUF files; choose with --include, such as --include '*Q4_K_M*':\n%s", len(ggufs), strings.Join(ggufs, "\n"))
	}
	var out []hub.File
	for _, f := range files {
		base, ext := path.Base(f.Name), path.Ext(f.Name)
		switch {
		case strings.HasPrefix(f.Name, "additional_chat_templates/"):
		case strings.Contains(f.Name, "/") && ext != ".gguf", strings.HasPrefix(base, "."):
			continue // original weights, images, exports to other programs
		}
		switch ext {
		case ".safetensors":
		case ".bin":
			if safetensors || !strings.HasPrefix(base, "pytorch_model") && base != "adapter_model.bin" {
				continue
			}
		case ".gguf":
			if safetensors || torch {
				continue
			}
		case ".json", ".model", ".jinja", ".txt", ".md":
			if base == "pytorch_model.bin.index.json" && safetensors {
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
