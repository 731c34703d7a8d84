package cpu_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/devicetest"
	"leolm/internal/kernel/amx/amxtest"
	features "leolm/internal/kernel/cpu"
)

func TestCompliance(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device {
		d, err := cpu.New(cpu.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	})
}

// TestMatrixUnits runs the suite with products of bf16 at level amx.
func TestMatrixUnits(t *testing.T) { amxtest.Run(t, TestCompliance) }

// TestComplianceOfPresets runs the suite with every smaller set of features, in processes of their own.
func TestComplianceOfPresets(t *testing.T) {
	if os.Getenv("LEO_CPU") != "" {
		t.Skip("this process runs with the features of LEO_CPU")
	}
	for _, f := range features.Presets() {
		if f == features.Active {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestCompliance$")
			cmd.Env = append(os.Environ(), "LEO_CPU="+f.String())
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case errors.As(err, &exit):
				t.Errorf("%v\n%s", err, out)
			case err != nil:
				t.Skipf("cannot start the test's own program (an emulator?): %v", err)
			}
		})
	}
}
