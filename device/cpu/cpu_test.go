package cpu

import "testing"

func newDevice(t testing.TB) *Device {
	t.Helper()
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
