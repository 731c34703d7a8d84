package jinja

// Statements.
type (
	node interface{}

	nData   struct{ text string }
	nOutput struct{ expr expr }
	nIf     struct {
		tests  []expr
		bodies [][]node
		els    []node
	}
	nFor struct {
		target     target
		iter, cond expr
		body, els  []node
		recursive  bool
		line       int
	}
	nSet struct {
		target target
		value  expr
		line   int
	}
	nSetBlock struct {
		target target
		filter *eFilter // nil, or a chain whose innermost value is nil
		body   []node
	}
	nWith struct {
		targets []target
		values  []expr
		body    []node
	}
	nMacro struct {
		name     string
		params   []string
		defaults []expr // of the last parameters
		body     []node
		varargs  bool // the body speaks of varargs
		kwargs   bool
		caller   bool
		line     int
	}
	nCall struct {
		macro *nMacro // the block's body
		call  *eCall
	}
	nFilterBlock struct {
		filter *eFilter
		body   []node
	}
	nGeneration struct{ body []node }
	nBreak      struct{}
	nContinue   struct{}
)

// Targets of assignments: a name, an attribute of a namespace, a tuple.
type (
	target interface{}

	tName  struct{ name string }
	tAttr  struct{ name, attr string }
	tTuple struct{ items []target }
)

// Expressions.
type (
	expr interface{}

	eConst struct{ v Value }
	eName  struct {
		name string
		line int
	}
	eList struct {
		items []expr
		tuple bool
	}
	eDict struct {
		keys, values []expr
		line         int
	}
	eUnary struct {
		op   string
		x    expr
		line int
	}
	eBinary struct {
		op   string
		x, y expr
		line int
	}
	eConcat  struct{ items []expr }
	eCompare struct {
		first expr
		ops   []string
		rest  []expr
		line  int
	}
	eCond struct{ test, yes, no expr }
	eAttr struct {
		x    expr
		name string
		line int
	}
	eItem struct {
		x, index expr
		line     int
	}
	eSlice struct {
		x                 expr
		start, stop, step expr // each may be nil
		line              int
	}
	eCall struct {
		fn   expr
		args args
		line int
	}
	eFilter struct {
		x    expr
		name string
		args args
		line int
	}
	eTest struct {
		x    expr
		name string
		args args
		not  bool
		line int
	}
)

// args are the arguments of a call as written.
type args struct {
	pos    []expr
	names  []string
	values []expr
	star   expr // *x
	stars  expr // **x
}
