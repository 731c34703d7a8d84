package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/catalog"
	"leolm/chat"
	"leolm/checkpoint"
	"leolm/internal/bounded"
	"leolm/internal/screen"
	"leolm/tensor"
	"leolm/tokenizer"
)

// convertResult is what convert and quantize print.
type convertResult struct {
	Path    string  `json:"path"`
	Type    string  `json:"type"`
	Bytes   int64   `json:"bytes"`
	Bits    float64 `json:"bits_per_weight"`
	Seconds float64 `json:"seconds"`
}

func (r convertResult) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "%s: %s, %s, %.2f bits per weight, %.1f s\n", r.Path, r.Type, bytesText(r.Bytes), r.Bits, r.Seconds)
	return err
}

func newConvertCmd() *cobra.Command {
	var dtype, adapter, template string
	var asJSON, force, quiet bool
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Convert a model between Hugging Face folders and GGUF",
		Long: "Convert a model: DST ending in .gguf is written as GGUF for llama.cpp, anything else as a Hugging Face folder for transformers.\n" +
			"The tokenizer and the chat template come along; --template writes another template. A LoRA adapter can be merged on the way.",
		Example: "  leo convert ./leo-7b leo-7b.gguf --dtype q8_0\n  leo convert model.gguf ./model --dtype bf16 --template chatml",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, dst := args[0], args[1]
			typ, err := checkpoint.ParseFileType(dtype)
			if err != nil {
				return usageError{withHint(fmt.Errorf("--dtype: %w", err), dtype, checkpoint.FileTypeNames())}
			}
			gguf := strings.HasSuffix(strings.ToLower(dst), ".gguf")
			if !gguf && typ.DType().Quantized() {
				return usageError{fmt.Errorf("--dtype %s needs a DST that ends in .gguf; a Hugging Face folder takes f32, f16 or bf16", typ)}
			}
			source, err := templateSource(template)
			if err != nil {
				return usageError{err}
			}
			if err := refuseOverwrite(src, dst, force); err != nil {
				return err
			}
			start := time.Now()
			c, err := openModel(src)
			if err != nil {
				return err
			}
			defer c.Close()
			if !c.HasWeights() {
				return fmt.Errorf("%s holds no weights to convert", src)
			}
			m, err := plainModel(c)
			if err != nil {
				return err
			}
			if adapter != "" {
				a, err := checkpoint.OpenAdapter(adapter, c.Config)
				if err != nil {
					return err
				}
				defer a.Close()
				if m, err = mergedModel(c, a); err != nil {
					return err
				}
			}
			if gguf && !quiet {
				noteFallbacks(cmd.ErrOrStderr(), typ.Fallbacks(&m.cfg, m.sources, false))
			}
			p := newBytesProgress(cmd.ErrOrStderr(), quiet)
			var notes []string
			if gguf {
				notes, err = writeModelGGUF(m, dst, typ, nil, source, p)
			} else {
				err = writeModelHF(m, dst, typ.DType(), source, p)
			}
			p.clear()
			if err != nil {
				return err
			}
			printNotes(cmd.ErrOrStderr(), notes, quiet)
			return writtenResult(dst, typ.String(), start).print(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().StringVar(&dtype, "dtype", "bf16", "data type of the matrices: f32, f16, bf16; for GGUF also q8_0, q4_0, q4_K, q6_K, q4_K_M and more")
	completeWith(cmd, "dtype", checkpoint.FileTypeNames()...)
	cmd.Flags().StringVar(&adapter, "adapter", "", "LoRA adapter (PEFT folder or GGUF) to merge into the model")
	cmd.Flags().StringVar(&template, "template", "", "write this chat template, by name or from a Jinja file, instead of the model's own")
	completeWith(cmd, "template", templateNames()...)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&force, "force", false, "replace DST if it exists")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

// refuseOverwrite protects what is at dst unless force is set, and the source in any case.
func refuseOverwrite(src, dst string, force bool) error {
	info, err := os.Stat(dst)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if s, err := os.Stat(src); err == nil && os.SameFile(s, info) {
		return fmt.Errorf("%s is the source itself: what the conversion rounds away would be lost; choose another destination", dst)
	}
	if force {
		return nil
	}
	if info.IsDir() {
		if entries, err := os.ReadDir(dst); err != nil || len(entries) == 0 {
			return err
		}
	}
	return fmt.Errorf("%s exists; --force replaces it", dst)
}

// templateSource returns the Jinja text of a template, given by name or as a file; "" for "".
func templateSource(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if t, err := chat.FindTemplate(name); err == nil {
		return t.Source(), nil
	}
	data, err := bounded.Regular(name, chat.MaxTemplate)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--template: %w", err)
	}
	if err != nil {
		return "", unknownTemplate(name)
	}
	if _, err := chat.NewJinja(string(data), nil); err != nil {
		return "", fmt.Errorf("--template %s: %w", name, err)
	}
	return string(data), nil
}

// unknownTemplate is the error for a --template that is neither a known name nor a file.
func unknownTemplate(name string) error {
	err := fmt.Errorf("--template %q is neither a file nor one of %s", name, strings.Join(templateNames(), ", "))
	return usageError{withHint(err, name, templateNames())}
}

// templateNames are the names that a --template may have.
func templateNames() []string { return append(chat.TemplateNames(), "chatml") }

// model is what convert and quantize write: a checkpoint's weights, possibly with an adapter merged in, which may bring
// rows and a tokenizer of its own.
type model struct {
	*checkpoint.Checkpoint
	cfg     checkpoint.Config
	sources []checkpoint.Source
	files   checkpoint.TokenizerFiles // of the adapter; nil: the checkpoint's own
}

func plainModel(c *checkpoint.Checkpoint) (*model, error) {
	m := &model{Checkpoint: c, cfg: c.Config, sources: c.Sources()}
	return m, sameTokenizer(c.Path, c, c.TokenizerFingerprint)
}

// sameTokenizer refuses a tokenizer that is not the one of that fingerprint, "" for none.
func sameTokenizer(trained string, c *checkpoint.Checkpoint, want string) error {
	if want == "" {
		return nil
	}
	files, err := c.TokenizerFiles()
	if err != nil {
		return err
	}
	t, err := files.Open(c.Path, tokenizer.Options{})
	if err != nil {
		return err
	}
	if got := t.Fingerprint(); got != want {
		return &catalog.TokenizerError{Model: trained, Want: want, Got: got}
	}
	return nil
}

func mergedModel(c *checkpoint.Checkpoint, a *checkpoint.Adapter) (*model, error) {
	m := &model{Checkpoint: c}
	var err error
	if m.cfg, m.sources, err = c.WithAdapter(a); err != nil {
		return nil, err
	}
	if !a.Files.HasVocabulary() {
		want, err := a.Files.Fingerprint()
		if err != nil {
			return nil, err
		}
		return m, sameTokenizer(a.Path, c, want)
	}
	own, err := c.TokenizerFiles()
	if err != nil {
		return nil, err
	}
	base, err := own.Open(c.Path, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	theirs, err := a.Files.Open(a.Path, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	if ok, why := theirs.Extends(base); !ok {
		return nil, fmt.Errorf("%s was trained with another tokenizer than %s has: %s", a.Path, c.Path, why)
	}
	m.files = a.Files
	return m, m.files.AddStops(a.Path, &m.cfg)
}

// writeModelGGUF writes a GGUF file; a template that is not empty replaces the model's own. The notes say what the
// format cannot hold.
func writeModelGGUF(m *model, dst string, typ checkpoint.FileType, imatrix *checkpoint.Imatrix, template string, p *bytesProgress) ([]string, error) {
	opt := checkpoint.GGUFOptions{Type: typ, Imatrix: imatrix, Progress: p.update}
	var notes []string
	var err error
	if opt.Metadata, notes, err = m.GGUFMetadata(); err != nil {
		return nil, err
	}
	if m.files != nil {
		var more []string
		if opt.Metadata, more, err = m.files.WithVocabulary(opt.Metadata, &m.cfg); err != nil {
			return nil, err
		}
		notes = append(notes, more...)
	}
	if m.GGUF == nil {
		opt.Name = filepath.Base(filepath.Clean(m.Path))
	}
	if template != "" {
		const key = "tokenizer.chat_template"
		opt.Metadata = slices.DeleteFunc(opt.Metadata, func(kv checkpoint.KV) bool { return kv.Key == key })
		opt.Metadata = append(opt.Metadata, checkpoint.KV{Key: key, Value: template})
	}
	return notes, checkpoint.WriteGGUF(dst, m.cfg, m.sources, opt)
}

func printNotes(w io.Writer, notes []string, quiet bool) {
	for _, n := range notes {
		if !quiet {
			fmt.Fprintln(w, "note:", n)
		}
	}
}

func writeModelHF(m *model, dst string, d tensor.DType, template string, p *bytesProgress) error {
	files := m.files
	var err error
	if files == nil {
		if files, err = m.TokenizerFiles(); err != nil {
			return err
		}
	}
	if template != "" {
		if files, err = files.WithTemplate(template); err != nil {
			return err
		}
	}
	gen := m.Generation
	if m.GGUF != nil {
		gen = gen.Drawing()
	}
	return checkpoint.WriteHF(dst, m.cfg, m.sources, checkpoint.HFOptions{DType: d, Files: files, Progress: p.update, Generation: &gen})
}

// writtenResult measures what was written.
func writtenResult(dst, typ string, start time.Time) convertResult {
	r := convertResult{Path: dst, Type: typ, Seconds: time.Since(start).Seconds()}
	if c, err := checkpoint.Open(dst); err == nil {
		r.Bytes = c.Size()
		r.Bits = 8 * float64(r.Bytes) / float64(max(c.Config.Parameters(), 1))
		_ = c.Close()
	}
	return r
}

// bytesProgress shows how much of a file is done: on a terminal one line that is rewritten, elsewhere a plain line now
// and then.
type bytesProgress struct {
	w        io.Writer
	terminal bool
	shown    time.Time
	width    int
}

func newBytesProgress(w io.Writer, quiet bool) *bytesProgress {
	p := &bytesProgress{shown: time.Now(), terminal: isTerminal(w)}
	if !quiet {
		p.w = rawWriter(w)
	}
	return p
}

// interval is the time between two lines.
func (p *bytesProgress) interval() time.Duration {
	if p.terminal {
		return 100 * time.Millisecond
	}
	return 10 * time.Second
}

// soon makes the first line appear after d, whatever the interval.
func (p *bytesProgress) soon(d time.Duration) { p.shown = time.Now().Add(d - p.interval()) }

func (p *bytesProgress) update(name string, done, total int64) {
	if p.w == nil || time.Since(p.shown) < p.interval() {
		return
	}
	p.shown = time.Now()
	name = screen.Line(name)
	text := fmt.Sprintf("%s  %s", bytesText(done), name)
	if total > 0 {
		text = fmt.Sprintf("%3d %%  %s of %s  %s", 100*done/total, bytesText(done), bytesText(total), name)
	}
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	pad := max(p.width-len(text), 0)
	p.width = len(text)
	fmt.Fprintf(p.w, "\r%s%s", text, strings.Repeat(" ", pad))
}

func (p *bytesProgress) clear() {
	if p.w != nil && p.terminal && p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
	}
}
