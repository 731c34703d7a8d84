package limits

import (
	"testing"
	"time"

	"leolm/internal/kernel/cpu"
)

func TestMeasure(t *testing.T) {
	l := Measure(1, 5*time.Millisecond)
	// Bounds that any machine keeps, however busy, and none exceeds: a busy one may
	// slow down one probe and not the next, so that rates do not compare here.
	for name, v := range map[string][3]float64{
		"read": {l.Read, 0.005, 1000}, "f32": {l.F32, 0.002, 2000}, "int8": {l.Int8, 0.002, 100000},
	} {
		if v[0] < v[1] || v[0] > v[2] {
			t.Errorf("%s: %v is not a plausible rate", name, v[0])
		}
	}
	if (l.BF16 > 0) != (cpu.Has(cpu.BF16) || cpu.Has(cpu.AMX)) {
		t.Errorf("bf16 rate %v at level %v", l.BF16, cpu.Active)
	}
	t.Logf("%+v", l)
}

func TestEveryLevelReads(t *testing.T) {
	saved := cpu.Active
	defer func() { cpu.Active = saved }()
	for _, cpu.Active = range cpu.Presets() {
		read(make([]byte, 1<<16))
		f32, bf16, int8 := probes()
		for _, p := range []probe{f32, bf16, int8} {
			if p.run != nil {
				p.run(10)
			}
		}
	}
}

func BenchmarkLimits(b *testing.B) {
	for b.Loop() {
		l := Measure(2, 100*time.Millisecond)
		b.ReportMetric(l.Read, "GB/s")
		b.ReportMetric(l.F32, "f32-GFLOP/s")
		b.ReportMetric(l.BF16, "bf16-GFLOP/s")
		b.ReportMetric(l.Int8, "int8-GOP/s")
	}
}
