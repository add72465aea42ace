package saga

// Codes of our own, beside PressOne's and http_<status>.
const (
	CodeMalformed        = "malformed"
	CodeConflict         = "conflict"
	CodeRetriesExhausted = "retries_exhausted"
	CodeDeadline         = "deadline"
	CodePollDeadline     = "poll_deadline"
	CodeOutcomeUnknown   = "outcome_unknown"
	CodePrecheck         = "precheck"
	CodeExpired          = "expired"
)

// Classes of our own, beside PressOne's (see pressone.Error.Class).
const (
	ClassMalformed      = "malformed"
	ClassConflict       = "conflict"
	ClassExhausted      = "exhausted"
	ClassNotReady       = "not_ready"
	ClassOutcomeUnknown = "outcome_unknown"
	ClassNotOffered     = "not_offered"
	ClassRecycled       = "recycled" // can never be replayed for that ICCID
	ClassExpired        = "expired"  // whether it was handled is not on record any more; never replayed
)
