package llama

import (
	"fmt"

	"leolm/checkpoint"
	"leolm/device"
)

// Apply puts a LoRA adapter on the model, with its effect multiplied by strength. Several add up. DoRA, and weights
// trained along with the adapter, change the stored weights: give those to Load as LoadOptions.Merge.
func (m *Model) Apply(dev device.Device, a *checkpoint.Adapter, strength float64) error {
	byName := map[string]*Linear{}
	for _, l := range m.Linears() {
		byName[l.Name+".weight"] = l
	}
	for i := range a.Targets {
		t := &a.Targets[i]
		if t.Magnitude != nil {
			continue
		}
		l, ok := byName[t.Name]
		if !ok {
			return fmt.Errorf("%s: adapter for %q, which is no projection of a layer; merge it with leo convert --lora", a.Path, t.Name)
		}
		wa, err := adapterWeight(dev, t.A)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		wb, err := adapterWeight(dev, t.B)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		l.Adapters = append(l.Adapters, &Adapter{A: wa, B: wb, Scale: float32(t.Scale * strength)})
	}
	return nil
}

func adapterWeight(dev device.Device, t *checkpoint.Tensor) (device.Weight, error) {
	return dev.NewWeight(device.WeightSpec{Name: t.Name, DType: t.DType, Rows: t.Rows(), Cols: t.Cols(), Row: t.Row, Use: device.Product})
}

// Merged returns what Load needs to fold the parts of an adapter into the weights that Apply cannot
// put beside them: DoRA targets and whole saved weights.
func Merged(a *checkpoint.Adapter) map[string]*checkpoint.LoRA {
	out := map[string]*checkpoint.LoRA{}
	for i := range a.Targets {
		if t := &a.Targets[i]; t.Magnitude != nil {
			out[t.Name] = t
		}
	}
	return out
}
