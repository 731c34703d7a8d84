package corpus

import "fmt"

// A ChangedError says that something is no longer what the plan was made for.
type ChangedError struct {
	Path string
	What string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s: changed since the plan was made (%s)", e.Path, e.What)
}

// NoPlanError reports a folder without a plan.
type NoPlanError struct{ Dir string }

func (e *NoPlanError) Error() string { return e.Dir + ": no plan here" }

// OtherPlanError reports a folder that another plan must not overwrite.
type OtherPlanError struct {
	Dir       string
	Held, New string // IDs of the plans
}

func (e *OtherPlanError) Error() string {
	return fmt.Sprintf("%s: holds another plan (%s, this one is %s); choose another folder", e.Dir, e.Held, e.New)
}

// NoCorpusError reports a folder whose stages have not all been run.
type NoCorpusError struct{ Dir string }

func (e *NoCorpusError) Error() string {
	return e.Dir + ": no finished corpus here (out/manifest.json is missing)"
}

// NotReadyError reports a stage that needs tasks of an earlier one.
type NotReadyError struct {
	Stage, Before string
	Missing, Of   int // tasks of Before that are not done, and all
	First         int // the first of the missing
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("stage %s cannot begin: %d of %d tasks of stage %s are not done (the first is task %d); run them first",
		e.Stage, e.Missing, e.Of, e.Before, e.First)
}
