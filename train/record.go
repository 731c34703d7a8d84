package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"leolm/internal/bounded"
	"leolm/internal/durable"
	"leolm/internal/recipe"
)

// RecordFile is the name of the file in a run's output folder that holds its Record.
const RecordFile = "run.json"

// recordSchema marks a file as a Record, recordVersion is the layout that this package writes and the newest it reads.
const (
	recordSchema  = "leo-training-run"
	recordVersion = 1
)

// maxRecord bounds the file, in bytes.
const maxRecord = 4 << 20

// Record is what a finished run says about itself: how it was set, and how long it was. Reports and model cards read it.
type Record struct {
	Schema  string `json:"schema"` // "leo-training-run"
	Version int    `json:"version"`
	Name    string `json:"name"`
	// Recipe has the recipe's values by dotted key, defaults included, as the recipe would write them.
	Recipe     map[string]string `json:"recipe"`
	Parameters int64             `json:"parameters"`
	Trainable  int64             `json:"trainable_parameters"`
	Steps      int               `json:"steps"`
	Warmup     int               `json:"warmup_steps"`
	Epochs     float64           `json:"epochs,omitempty"`              // passes over the data; 0 if they are not known
	Sequences  int               `json:"sequences_per_epoch,omitempty"` // examples, or windows where they are packed; 0 as above
	Tokens     int64             `json:"tokens_seen"`
	Loss       *float64          `json:"loss,omitempty"`       // of the last step
	ValidLoss  *float64          `json:"valid_loss,omitempty"` // of the last evaluation
	Data       map[string]string `json:"data,omitempty"`       // identities of shards and base, by the recipe's keys
	// Note says where a record comes from that no run has written.
	Note string `json:"note,omitempty"`
}

// writeRecord writes the record of the finished run.
func (t *Trainer) writeRecord(res *Result) error {
	values, err := recipe.Values(t.cfg)
	if err != nil {
		return err
	}
	known := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	r := Record{
		Schema: recordSchema, Version: recordVersion, Name: t.cfg.Name, Recipe: values, Parameters: t.plan.Params, Trainable: t.plan.Trainable,
		Steps: t.opt.Step, Warmup: t.cfg.Schedule.warmup(t.length.steps), Epochs: t.length.epochs, Sequences: t.objective.windows(0), Tokens: t.seen,
		Loss: known(res.Loss), ValidLoss: known(res.ValidLoss), Data: t.dataIdentity(),
	}
	if t.length.steps > 0 && t.opt.Step < t.length.steps { // stopped early
		r.Epochs *= float64(t.opt.Step) / float64(t.length.steps)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(t.cfg.Output, RecordFile), append(b, '\n'))
}

// RecordError says that a file is no record of a training run.
type RecordError struct {
	Path string
	Err  error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("%s: not the record of a training run: %v", e.Path, e.Err)
}

// Unwrap returns what is wrong with the file.
func (e *RecordError) Unwrap() error { return e.Err }

// ReadRecord reads the record of the run in an output folder; an error about its contents is a *RecordError.
func ReadRecord(ctx context.Context, dir string) (*Record, error) {
	path := filepath.Join(dir, RecordFile)
	data, err := bounded.File(ctx, path, maxRecord)
	if err != nil {
		return nil, err
	}
	r := new(Record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, &RecordError{path, err}
	}
	switch {
	case r.Schema != recordSchema || r.Version < 1:
		return nil, &RecordError{path, errors.New("it has no schema and version of one")}
	case r.Version > recordVersion:
		return nil, &RecordError{path, fmt.Errorf("it is in version %d of the layout, and this program reads up to %d", r.Version, recordVersion)}
	}
	return r, nil
}
