package checkpoint

func (m *pickleMachine) global(name pickleGlobal) error {
	if !pickleNames[name] {
		return m.fail("asks for %q, which no file of weights needs; refused", string(name))
	}
	return m.push(name)
}

// stackGlobal pushes the class or function whose module and name are on the stack.
func (m *pickleMachine) stackGlobal() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	module, ok1 := v[0].(string)
	name, ok2 := v[1].(string)
	if !ok1 || !ok2 {
		return m.fail("a name that is no text")
	}
	return m.global(pickleGlobal(module + "." + name))
}

// build sets the state of an object. That of an OrderedDict (its _metadata) is not needed.
func (m *pickleMachine) build() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	if _, ok := v[0].(*pickleDict); !ok {
		return m.fail("sets the state of a %T", v[0])
	}
	return m.push(v[0])
}

func (m *pickleMachine) append(op byte) error {
	var v []any
	var err error
	if op == opAppend {
		v, err = m.popN(1)
	} else {
		v, err = m.popMark()
	}
	if err != nil {
		return err
	}
	t, err := m.top()
	if err != nil {
		return err
	}
	l, ok := t.(*pickleList)
	if !ok {
		return m.fail("appends to a %T", t)
	}
	l.items = append(l.items, v...)
	return nil
}

func (m *pickleMachine) setItems(op byte) error {
	var v []any
	var err error
	if op == opSetItem {
		v, err = m.popN(2)
	} else {
		v, err = m.popMark()
	}
	if err != nil {
		return err
	}
	if len(v)%2 != 0 {
		return m.fail("a key without a value")
	}
	t, err := m.top()
	if err != nil {
		return err
	}
	d, ok := t.(*pickleDict)
	if !ok {
		return m.fail("sets items of a %T", t)
	}
	for i := 0; i < len(v); i += 2 {
		d.items = append(d.items, pickleItem{v[i], v[i+1]})
	}
	return nil
}

// storage turns the persistent id ('storage', type, key, device, elements).
func (m *pickleMachine) storage() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	t, _ := v.(pickleTuple)
	if len(t) != 5 || t[0] != "storage" {
		return m.fail("a persistent id that is no storage")
	}
	typ, ok1 := t[1].(pickleGlobal)
	key, ok2 := t[2].(string)
	n, ok3 := t[4].(int)
	if !ok1 || !ok2 || !ok3 || n < 0 {
		return m.fail("a storage described by wrong values")
	}
	return m.push(pickleStorage{typ, key, n})
}

// reduce calls one of the known functions.
func (m *pickleMachine) reduce() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	return m.call(v[0], v[1])
}

func (m *pickleMachine) call(function, arguments any) error {
	name, ok1 := function.(pickleGlobal)
	args, ok2 := arguments.(pickleTuple)
	if !ok1 || !ok2 {
		return m.fail("calls a %T with a %T", function, arguments)
	}
	switch name {
	case "collections.OrderedDict":
		if len(args) == 0 {
			return m.push(&pickleDict{})
		}
	case "torch.Size":
		if len(args) == 1 {
			return m.push(args[0])
		}
	case "torch._tensor._rebuild_from_type_v2":
		// (function, type, its arguments, attributes): a tensor with Python
		// attributes, which don't matter here.
		if len(args) == 4 && args[0] == pickleGlobal("torch._utils._rebuild_tensor_v2") && (args[1] == pickleGlobal("torch.Tensor") || args[1] == pickleGlobal("torch.nn.parameter.Parameter")) {
			return m.call(args[0], args[2])
		}
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) >= 1 {
			if t, ok := args[0].(pickleTensor); ok {
				return m.push(t)
			}
		}
	case "torch._utils._rebuild_tensor_v2":
		if len(args) < 4 {
			break
		}
		s, ok1 := args[0].(pickleStorage)
		off, ok2 := args[1].(int)
		shape, ok3 := wholeNumbers(args[2])
		stride, ok4 := wholeNumbers(args[3])
		if ok1 && ok2 && ok3 && ok4 && off >= 0 && len(shape) == len(stride) && len(shape) <= 8 {
			return m.push(pickleTensor{s, off, shape, stride})
		}
	}
	return m.fail("calls %s with arguments it doesn't take", string(name))
}

// wholeNumbers reads a tuple of numbers that are not negative.
func wholeNumbers(v any) ([]int, bool) {
	t, ok := v.(pickleTuple)
	if !ok {
		return nil, false
	}
	out := make([]int, len(t))
	for i, e := range t {
		n, ok := e.(int)
		if !ok || n < 0 {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}
