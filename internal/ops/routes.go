package ops

import (
	"net/http"
	"slices"
)

// Route is an address of the console or of the API, and who may use it. Whatever has a word
// for the trail acts: it is for operators, and each use of it is an action on record.
type Route struct {
	Pattern string
	Needs   Role
	Does    string // the word; empty: it changes nothing
	// AboutWhat reads what an action is about from its form or its JSON; nil: the id in its address.
	AboutWhat func(*http.Request, asked) string
	Reasoned  bool // it needs a reason
}

// What is done, as the trail calls it.
const (
	didLogIn         = "log_in"
	didLogOut        = "log_out"
	didAdopt         = "adopt"
	didConfirmAbsent = "confirm_absent"
	didDiscardSaga   = "discard_saga"
	didDiscardLetter = "discard_letter"
	didReplayLetter  = "replay_letter"
	didResubmit      = "resubmit"
	didStartReplay   = "start_replay"
	didAbortReplay   = "abort_replay"
	didStartAudit    = "start_audit"
	didDismiss       = "dismiss_finding"
	didPause         = "pause"
	didResume        = "resume"
	didMoveGate      = "pause_or_resume"
	didReveal        = "reveal"
	didExport        = "export_data"
	didErase         = "erase_data"
)

func reads(pattern string) Route  { return Route{Pattern: pattern, Needs: Viewer} }
func public(pattern string) Route { return Route{Pattern: pattern, Needs: Nobody} }

func acts(pattern, does string) Route {
	return Route{Pattern: pattern, Needs: Operator, Does: does, Reasoned: true}
}

func (rt Route) about(f func(*http.Request, asked) string) Route {
	rt.AboutWhat = f
	return rt
}

func (rt Route) withoutReason() Route {
	rt.Reasoned = false
	return rt
}

type apiRoute struct {
	Route

	serve func(api, *http.Request) (any, error)
}

// apiRoutes are all addresses of the API.
var apiRoutes = []apiRoute{
	{reads("GET /api/v1/sagas"), api.sagas},
	{reads("GET /api/v1/sagas/{id}"), api.saga},
	{acts("POST /api/v1/sagas/{id}/adopt", didAdopt), api.adopt},
	{acts("POST /api/v1/sagas/{id}/confirm-absent", didConfirmAbsent), api.confirmAbsent},
	{acts("POST /api/v1/sagas/{id}/discard", didDiscardSaga), api.discardSaga},
	{reads("GET /api/v1/dead-letters"), api.letters},
	{reads("GET /api/v1/dead-letters/{id}"), api.letter},
	{acts("POST /api/v1/dead-letters/replay", didReplayLetter).about(filterInBody), api.replay},
	{acts("POST /api/v1/dead-letters/{id}/discard", didDiscardLetter), api.discard},
	{reads("GET /api/v1/dead-letter-groups"), api.groups},
	{acts("POST /api/v1/dead-letters/{id}/resubmit", didResubmit), api.resubmit},
	{reads("POST /api/v1/replays/preview"), api.previewReplay},
	{acts("POST /api/v1/replays", didStartReplay).about(filterInBody), api.startReplay},
	{reads("GET /api/v1/replays"), api.replays},
	{reads("GET /api/v1/replays/{id}"), api.replayOf},
	{acts("POST /api/v1/replays/{id}/abort", didAbortReplay), api.abortReplay},
	{reads("GET /api/v1/audits"), api.audits},
	{acts("POST /api/v1/audits", didStartAudit).about(daysAsked).withoutReason(), api.startAudit},
	{reads("GET /api/v1/audits/{id}"), api.audit},
	{reads("GET /api/v1/audit-findings"), api.findings},
	{acts("POST /api/v1/audit-findings/{id}/dismiss", didDismiss), api.dismiss},
	{acts("POST /api/v1/privacy/export", didExport).about(somebody), api.exportData},
	{acts("POST /api/v1/privacy/erase", didErase).about(somebody), api.eraseData},
	{reads("GET /api/v1/gate"), api.gate},
	{reads("GET /api/v1/gate/trail"), api.gateTrail},
	{acts("POST /api/v1/gate/pause", didPause).about(gateTarget), api.pause},
	{acts("POST /api/v1/gate/resume", didResume).about(gateTarget), api.resume},
	{reads("GET /api/v1/trail"), api.trail},
}

type page struct {
	Route

	serve func(*console, http.ResponseWriter, *http.Request) error
}

// pages are all addresses of the console, but for what is the same for everybody: its assets.
var pages = []page{
	{reads("GET /{$}"), (*console).showOverview},
	{reads("GET /sagas"), (*console).showSagas},
	{reads("GET /sagas/{id}"), (*console).showSaga},
	{acts("POST /sagas/{id}/reveal", didReveal), (*console).reveal},
	{acts("POST /sagas/{id}/adopt", didAdopt), (*console).adopt},
	{acts("POST /sagas/{id}/confirm-absent", didConfirmAbsent), (*console).confirmAbsent},
	{reads("GET /dead-letters"), (*console).showLetters},
	{reads("GET /dead-letters/{id}"), (*console).showLetter},
	{acts("POST /dead-letters/{id}/discard", didDiscardLetter), (*console).discardLetter},
	{acts("POST /dead-letters/{id}/resubmit", didResubmit), (*console).resubmit},
	{reads("GET /replays"), (*console).showReplays},
	{reads("GET /replays/new"), (*console).showPreview},
	{acts("POST /replays", didStartReplay).about(filterInForm), (*console).startReplay},
	{reads("GET /replays/{id}"), (*console).showReplay},
	{acts("POST /replays/{id}/abort", didAbortReplay), (*console).abortReplay},
	{reads("GET /audit"), (*console).showAudit},
	{acts("POST /audit", didStartAudit).about(daysAsked).withoutReason(), (*console).startAudit},
	{acts("POST /audit/findings/{id}/dismiss", didDismiss), (*console).dismiss},
	{acts("POST /gate", didMoveGate).about(gateTarget), (*console).moveGate},
	{reads("GET /trail"), (*console).showTrail},
	{reads("/"), (*console).showNothing},

	{public("GET /log-in"), (*console).showLogIn},
	{public("POST /log-in"), (*console).logIn},
	{public("GET /log-in/oidc"), (*console).leaveForOIDC},
	{public("GET " + CallbackPath), (*console).comeFromOIDC},
	{public("POST /log-out"), (*console).logOut},
	{public("POST /theme"), (*console).setTheme},
}

// Routes lists every address of the API and of the console.
func Routes() []Route {
	var all []Route
	for _, rt := range apiRoutes {
		all = append(all, rt.Route)
	}
	for _, p := range pages {
		all = append(all, p.Route)
	}
	return slices.Clip(all)
}
