package codebook

import "testing"

func TestValues(t *testing.T) {
	for _, signed := range []bool{true, false} {
		v := Values(signed)
		zero, one := 0, 0
		for i, x := range v {
			if i > 0 && x <= v[i-1] {
				t.Errorf("signed %v: value %d is %v after %v", signed, i, x, v[i-1])
			}
			switch x {
			case 0:
				zero++
			case 1:
				one++
			}
		}
		if least := v[0]; zero != 1 || one != 1 || v[255] != 1 || signed != (least < 0) {
			t.Errorf("signed %v: from %v to %v, %d zeros, %d ones", signed, least, v[255], zero, one)
		}
	}
}
