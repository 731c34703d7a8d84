package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"leolm/checkpoint"
	"leolm/internal/screen"
	"leolm/tensor"
)

type adapterTarget struct {
	Name  string       `json:"name"`
	Rank  int          `json:"rank"`
	Alpha float64      `json:"alpha"`
	Scale float64      `json:"scale"`
	DoRA  bool         `json:"dora,omitempty"`
	Shape tensor.Shape `json:"shape"` // of the matrix that it changes
}

type adapterReport struct {
	Path       string          `json:"path"`
	Format     string          `json:"format"`
	BaseModel  string          `json:"base_model"`
	Parameters int64           `json:"parameters"`
	Bytes      int64           `json:"bytes"`
	Modules    []string        `json:"modules"`
	RSLoRA     bool            `json:"rslora"`
	Types      []inspectTypes  `json:"types"`
	Targets    []adapterTarget `json:"targets"`
	Saved      []inspectTensor `json:"saved"` // whole weights that were trained along with it
	Notes      []string        `json:"notes"`
}

// inspectAdapter reports what a LoRA adapter changes.
func inspectAdapter(path string) (*adapterReport, error) {
	a, err := checkpoint.InspectAdapter(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	r := &adapterReport{Path: path, Format: "PEFT", BaseModel: a.BaseModel, Notes: a.Notes}
	if strings.HasSuffix(strings.ToLower(path), ".gguf") {
		r.Format = checkpoint.FormatGGUF
	}
	count := func(t *checkpoint.Tensor) {
		if t == nil {
			return
		}
		name, n := t.DType.String(), int64(t.Size())
		i := slices.IndexFunc(r.Types, func(e inspectTypes) bool { return e.DType == name })
		if i < 0 {
			i = len(r.Types)
			r.Types = append(r.Types, inspectTypes{DType: name})
		}
		r.Types[i].Tensors++
		r.Types[i].Bytes += n
		r.Bytes += n
		if n, err := t.Shape.Elements(); err == nil {
			r.Parameters += int64(n)
		}
	}
	for i := range a.Targets {
		l := &a.Targets[i]
		r.Targets = append(r.Targets, adapterTarget{l.Name, l.Rank, l.Alpha, l.Scale, l.Magnitude != nil, tensor.Shape{l.B.Shape[0], l.A.Shape[1]}})
		r.RSLoRA = r.RSLoRA || l.RSLoRA
		module := strings.TrimSuffix(l.Name, ".weight")
		if module = module[strings.LastIndexByte(module, '.')+1:]; !slices.Contains(r.Modules, module) {
			r.Modules = append(r.Modules, module)
		}
		count(l.A)
		count(l.B)
		count(l.Magnitude)
	}
	slices.Sort(r.Modules)
	for _, t := range a.Saved {
		r.Saved = append(r.Saved, inspectTensor{t.Name, t.Stored, t.DType.String(), t.Shape, t.Size(), t.File, t.Offset})
		count(t)
	}
	return r, nil
}

func (r *adapterReport) print(w io.Writer, list bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { reportLine(t, name, format, args...) }
	line("File", "%s, LoRA adapter, %s", r.Format, bytesText(r.Bytes))
	base := r.BaseModel
	if base == "" {
		base = "not named"
	}
	line("Base", "%s", base)
	// Usually all matrices share one rank and alpha; otherwise each distinct pair is listed once.
	var kinds []string
	for _, x := range r.Targets {
		kind := fmt.Sprintf("%d, alpha %g, strength %.4g", x.Rank, x.Alpha, x.Scale)
		if r.RSLoRA {
			kind += " (rank-stabilized)"
		}
		if x.DoRA {
			kind += ", with magnitudes (DoRA)"
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	for i, k := range kinds {
		line([]string{"Rank", ""}[min(i, 1)], "%s", k)
	}
	if len(r.Targets) > 0 {
		line("Modules", "%s: %d matrices", strings.Join(r.Modules, ", "), len(r.Targets))
	}
	for i, x := range r.Saved {
		line([]string{"Replaces", ""}[min(i, 1)], "%s %v, %s", x.Name, x.Shape, x.DType)
	}
	line("Parameters", "%s", countText(r.Parameters))
	for i, e := range r.Types {
		line([]string{"Types", ""}[min(i, 1)], "%s: %d tensors, %s", e.DType, e.Tensors, bytesText(e.Bytes))
	}
	for _, n := range r.Notes {
		line("Note", "%s", n)
	}
	line("Use", "leo chat --model BASE --lora %s, or leo convert BASE DST --adapter %s", r.Path, r.Path)
	if err := t.Flush(); err != nil || !list {
		return err
	}
	fmt.Fprintln(w)
	for _, x := range r.Targets {
		fmt.Fprintf(t, "%s\trank %d\talpha %g\t%v\n", screen.Line(x.Name), x.Rank, x.Alpha, x.Shape)
	}
	return t.Flush()
}
