package llama

import (
	"fmt"
	"slices"

	"leolm/checkpoint"
	"leolm/device"
)

// TargetError reports that an adapter changes a matrix other than the projections of the layers: its product cannot be
// added while the model runs.
type TargetError struct{ Adapter, Target string }

func (e *TargetError) Error() string {
	return fmt.Sprintf("%s: adapter for %q, which is not a projection of a layer", e.Adapter, e.Target)
}

// Apply adds a LoRA adapter to the model, with its effect multiplied by strength. Several add up. Whole weights that were
// trained along with the adapter (a.Saved) replace stored ones and go into LoadOptions.Replace. An adapter of matrices
// other than the layers' projections is a *TargetError.
func (m *Model) Apply(dev device.Runner, a *checkpoint.Adapter, strength float64) error {
	byName := map[string]*Linear{}
	for _, l := range m.Linears() {
		byName[l.Name+".weight"] = l
	}
	for i := range a.Targets {
		t := &a.Targets[i]
		l, ok := byName[t.Name]
		if !ok {
			return &TargetError{Adapter: a.Path, Target: t.Name}
		}
		wa, err := adapterWeight(dev, t.Name+".lora_A", t.A)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		wb, err := adapterWeight(dev, t.Name+".lora_B", t.B)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		if t.Magnitude == nil {
			l.Adapters = append(l.Adapters, &Adapter{A: wa, B: wb, Scale: float32(t.Scale * strength)})
			continue
		}
		m, err := dev.NewWeight(device.WeightSpec{Name: t.Magnitude.Name, DType: t.Magnitude.DType, Rows: 1, Cols: l.W.Rows(), Row: t.Magnitude.Row, Use: device.WeightUseVector})
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		ad := &Adapter{A: wa, B: wb, Scale: float32(t.Scale)}
		ad.DoRA = dev.NewDoRA(l.W, wa, wb, m, ad.Scale)
		if strength != 1 {
			ad.Share = float32(strength)
		}
		l.Adapters = append(l.Adapters, ad)
	}
	return nil
}

// Bare returns a model without adapters that shares the weights of m.
func (m *Model) Bare() *Model {
	n := *m
	n.Layers = slices.Clone(m.Layers)
	for _, l := range n.Linears() {
		l.Adapters = nil
	}
	return &n
}

// adapterWeight makes a factor of a change, with a name that says of which matrix.
func adapterWeight(dev device.Runner, name string, t *checkpoint.Tensor) (device.Weight, error) {
	return dev.NewWeight(device.WeightSpec{Name: name, DType: t.DType, Rows: t.Rows(), Cols: t.Cols(), Row: t.Row, Use: device.WeightUseMatmul})
}
