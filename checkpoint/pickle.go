package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// A PyTorch file describes its tensors in Python's pickle language, whose
// programs may call anything. This machine runs only the instructions that
// torch.save emits, and knows a closed list of names (pickleNames): everything
// else is an error that says what was asked for. No instruction allocates more
// than its own length in the file implies.

// The instructions, as Python's pickletools names them.
const (
	opMark            = '('
	opStop            = '.'
	opPop             = '0'
	opPopMark         = '1'
	opBinFloat        = 'G'
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opNone            = 'N'
	opBinPersID       = 'Q'
	opReduce          = 'R'
	opBinUnicode      = 'X'
	opShortBinUnicode = 0x8c
	opEmptyList       = ']'
	opAppend          = 'a'
	opBuild           = 'b'
	opGlobal          = 'c'
	opAppends         = 'e'
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opSetItem         = 's'
	opTuple           = 't'
	opEmptyTuple      = ')'
	opSetItems        = 'u'
	opEmptyDict       = '}'
	opProto           = 0x80
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opLong1           = 0x8a
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
)

// pickleGlobal is a name that a pickle may refer to.
type pickleGlobal string

// pickleTuple and pickleDict are Python's; a list is a *pickleList, for it is
// filled after it was stored.
type (
	pickleTuple []any
	pickleList  struct{ items []any }
	pickleDict  struct{ items []pickleItem }
	pickleItem  struct{ key, value any }
	pickleMark  struct{}
	// pickleStorage is what a persistent id stands for: the bytes of one file in the archive.
	pickleStorage struct {
		typ  pickleGlobal
		key  string
		size int // elements
	}
	// pickleTensor is the result of torch._utils._rebuild_tensor_v2.
	pickleTensor struct {
		storage pickleStorage
		offset  int // elements
		shape   []int
		stride  []int
	}
)

// pickleNames is the closed list. The storages carry their element type; the
// functions are run by pickleMachine.reduce.
var pickleNames = map[pickleGlobal]bool{
	"collections.OrderedDict":                    true,
	"torch._utils._rebuild_tensor_v2":            true,
	"torch._utils._rebuild_parameter":            true,
	"torch._utils._rebuild_parameter_with_state": true,
	"torch._tensor._rebuild_from_type_v2":        true,
	"torch.Tensor":                               true,
	"torch.nn.parameter.Parameter":               true,
	"torch.Size":                                 true,
	"torch.FloatStorage":                         true,
	"torch.HalfStorage":                          true,
	"torch.BFloat16Storage":                      true,
	"torch.DoubleStorage":                        true,
	"torch.LongStorage":                          true,
	"torch.IntStorage":                           true,
	"torch.ShortStorage":                         true,
	"torch.CharStorage":                          true,
	"torch.ByteStorage":                          true,
	"torch.BoolStorage":                          true,
}

// pickleError is an error at a byte of the pickle.
type pickleError struct {
	at  int
	msg string
}

func (e *pickleError) Error() string { return fmt.Sprintf("pickle byte %d: %s", e.at, e.msg) }

type pickleMachine struct {
	data  []byte
	at    int
	op    int // where the current instruction starts
	stack []any
	memo  map[uint32]any
}

// maxInstructions bounds a program's time, and the values it leaves, of which one
// instruction makes one at most.
const maxInstructions = 2 << 20

// runPickle runs a program and returns the object it leaves.
func runPickle(data []byte) (any, error) {
	m := &pickleMachine{data: data, memo: map[uint32]any{}}
	for n := 0; ; n++ {
		m.op = m.at
		if n == maxInstructions {
			return nil, m.fail("more than %d instructions; a file of weights has some twenty for each tensor", maxInstructions)
		}
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == opStop {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, err
		}
	}
}

func (m *pickleMachine) fail(format string, args ...any) error {
	return &pickleError{m.op, fmt.Sprintf(format, args...)}
}

func (m *pickleMachine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.data)-m.at {
		return nil, m.fail("needs %d bytes, %d are left: truncated or damaged", n, len(m.data)-m.at)
	}
	b := m.data[m.at : m.at+n]
	m.at += n
	return b, nil
}

func (m *pickleMachine) line() (string, error) {
	i := bytes.IndexByte(m.data[m.at:], '\n')
	if i < 0 || i > 1000 {
		return "", m.fail("a name without end")
	}
	s := string(m.data[m.at : m.at+i])
	m.at += i + 1
	return s, nil
}

func (m *pickleMachine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

func (m *pickleMachine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.fail("takes from an empty stack")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

func (m *pickleMachine) popN(n int) ([]any, error) {
	if len(m.stack) < n {
		return nil, m.fail("takes %d values from a stack of %d", n, len(m.stack))
	}
	v := append([]any(nil), m.stack[len(m.stack)-n:]...)
	m.stack = m.stack[:len(m.stack)-n]
	return v, nil
}

// popMark takes everything above the last mark, and the mark.
func (m *pickleMachine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(pickleMark); ok {
			v, err := m.popN(len(m.stack) - i)
			if err != nil {
				return nil, err
			}
			return v[1:], nil
		}
	}
	return nil, m.fail("no mark on the stack")
}

func (m *pickleMachine) top() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.fail("looks at an empty stack")
	}
	return m.stack[len(m.stack)-1], nil
}

// pickleWidth is the length of an instruction's operand; text and names are read by step.
var pickleWidth = [256]int{opProto: 1, opFrame: 8, opBinInt: 4, opBinInt1: 1, opBinInt2: 2, opBinFloat: 8, opBinGet: 1, opLongBinGet: 4, opBinPut: 1, opLongBinPut: 4, opLong1: 1, opBinUnicode: 4, opShortBinUnicode: 1}

func (m *pickleMachine) step(op byte) error {
	width := pickleWidth[op]
	b, err := m.take(width)
	if err != nil {
		return err
	}
	number := uint32(0)
	for i := min(width, 4) - 1; i >= 0; i-- {
		number = number<<8 | uint32(b[i])
	}
	switch op {
	case opProto:
		if b[0] > 5 {
			return m.fail("pickle protocol %d; 2 to 5 are known", b[0])
		}
		return nil
	case opFrame:
		return nil
	case opPop:
		_, err := m.pop()
		return err
	case opPopMark:
		_, err := m.popMark()
		return err
	case opBinPut, opLongBinPut:
		return m.remember(number)
	case opMemoize:
		return m.remember(uint32(len(m.memo)))
	case opBinGet, opLongBinGet:
		v, ok := m.memo[number]
		if !ok {
			return m.fail("recalls value %d, which was never stored", number)
		}
		return m.push(v)
	case opMark, opNone, opNewTrue, opNewFalse, opBinInt, opBinInt1, opBinInt2, opLong1, opBinFloat, opBinUnicode, opShortBinUnicode:
		return m.literal(op, number, b)
	}
	return m.assemble(op)
}

// literal pushes a value that the instruction holds: number is its operand, and b the bytes of that.
func (m *pickleMachine) literal(op byte, number uint32, b []byte) error {
	switch op {
	case opMark:
		return m.push(pickleMark{})
	case opNewTrue:
		return m.push(true)
	case opNewFalse:
		return m.push(false)
	case opBinInt:
		return m.push(int(int32(number)))
	case opBinInt1, opBinInt2:
		return m.push(int(number))
	case opLong1:
		return m.long(int(number))
	case opBinFloat:
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case opBinUnicode, opShortBinUnicode:
		return m.text(number)
	}
	return m.push(nil)
}

// assemble makes tuples, lists, dictionaries and objects of what is on the stack.
func (m *pickleMachine) assemble(op byte) error {
	switch op {
	case opEmptyTuple:
		return m.push(pickleTuple{})
	case opTuple1, opTuple2, opTuple3:
		v, err := m.popN(int(op-opTuple1) + 1)
		if err != nil {
			return err
		}
		return m.push(pickleTuple(v))
	case opTuple:
		v, err := m.popMark()
		if err != nil {
			return err
		}
		return m.push(pickleTuple(v))
	case opEmptyList:
		return m.push(&pickleList{})
	case opEmptyDict:
		return m.push(&pickleDict{})
	case opGlobal:
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.global(pickleGlobal(module + "." + name))
	case opStackGlobal:
		return m.stackGlobal()
	case opAppend, opAppends:
		return m.append(op)
	case opSetItem, opSetItems:
		return m.setItems(op)
	case opBuild:
		return m.build()
	case opBinPersID:
		return m.storage()
	case opReduce:
		return m.reduce()
	}
	return m.fail("instruction %#02x is none that torch.save writes; refused", op)
}

// remember stores the topmost value, which stays where it is.
func (m *pickleMachine) remember(at uint32) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	m.memo[at] = v
	return nil
}

// long pushes a number of n bytes in two's complement.
func (m *pickleMachine) long(n int) error {
	b, err := m.take(n)
	if err != nil {
		return err
	}
	if len(b) > 8 {
		return m.fail("a number of %d bytes", len(b))
	}
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	shift := 64 - 8*len(b)
	return m.push(int(int64(v<<shift) >> shift))
}

// text pushes a text of n bytes.
func (m *pickleMachine) text(n uint32) error {
	if uint64(n) > uint64(len(m.data)) {
		return m.fail("a text of %d bytes: truncated or damaged", n)
	}
	b, err := m.take(int(n))
	if err != nil {
		return err
	}
	return m.push(string(b))
}
