// SPDX-License-Identifier: Apache-2.0
// The model that model_check_test.cc explores: one job with its row in the database, its folders on
// disk, its processes and the memory of the daemon; beside it a job that it depends on and one of
// higher priority. What the daemon decides comes from its own pure functions; the transactions
// around them are modelled, each as one step.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "proto/contract/job/job_state.h"
#include "server/ledger/dependencies.h"
#include "server/ledger/queue_wait.h"
#include "server/reconcile/attempt_end.h"
#include "server/reconcile/decide.h"
#include "server/reconcile/scheduler.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server::model {

using Job = v1::Job;
using Attempt = v1::Attempt;
using Kind = Observation::Kind;

constexpr int kLastStep = 2;
constexpr int kMaxFailures = 2;

// What a run of the check varies.
struct Bounds {
  // Condition of depends_on; UNSPECIFIED: the job depends on nothing.
  v1::DependencyConfig::Condition depends = v1::DependencyConfig::CONDITION_UNSPECIFIED;
  bool preemption = false;
  bool run_limit = false;
  bool slice_limit = false;
  // How often a user, the daemon's end, and an error of worker, shim or machine intervene.
  int commands = 0;
  int crashes = 0;
  int errors = 0;
  int attempts = 3;
};

// All of it is bytes, so that it is its own key.
struct World {
  // The client and the database.
  uint8_t stored, acknowledged;
  uint8_t state, desired, wait, requeue;
  uint8_t attempt, open;
  uint8_t checkpoint, best;  // steps of the newest verified checkpoint, now and at the last count
  uint8_t failures, retries;
  uint8_t save_final, limit_reached, pending;
  uint8_t deadline;  // 0 none, 1 running, 2 over
  // The disk: step of the newest complete checkpoint; the final model: 0 none, 1 good, 2 damaged.
  uint8_t saved, final_model;
  // The processes of the newest attempt.
  uint8_t process;  // Process
  uint8_t record;   // Attempt::End in the worker's record; 0 = none
  uint8_t permanent, escalated, signalled, fenced, rebooted, silent;
  uint8_t step, began, saving, action;
  uint8_t spool;  // 1 Train began, 2 checkpoint, 4 SaveFinal began
  // The daemon's memory.
  uint8_t up, tracked, unspawned, delivered, launches;
  // Others: the job that this one depends on, and one of higher priority.
  uint8_t upstream;  // 0 runs, 1 has a checkpoint, 2 SUCCEEDED, 3 FAILED
  uint8_t rival;     // 0 not yet, 1 queued, 2 has the device, 3 ended
  // What is left of Bounds.
  uint8_t commands, crashes, errors;
  // Not known to the daemon: ends that may count as failures since the last progress.
  uint8_t blamed;

  std::string_view key() const { return {reinterpret_cast<const char*>(this), sizeof(World)}; }
};

enum Process : uint8_t { kNone, kSpawned, kRunning, kExited, kGone };
enum Tracked : uint8_t { kUntracked, kObserved, kEnding };

inline Job::State StateOf(const World& w) { return static_cast<Job::State>(w.state); }
inline Job::DesiredState DesiredOf(const World& w) {
  return static_cast<Job::DesiredState>(w.desired);
}
inline Job::WaitReason WaitOf(const World& w) { return static_cast<Job::WaitReason>(w.wait); }
inline bool IsLive(const World& w) { return w.process == kSpawned || w.process == kRunning; }

inline World FirstWorld(const Bounds& bounds) {
  World w;
  std::memset(&w, 0, sizeof(w));
  w.up = 1;
  w.commands = static_cast<uint8_t>(bounds.commands);
  w.crashes = static_cast<uint8_t>(bounds.crashes);
  w.errors = static_cast<uint8_t>(bounds.errors);
  return w;
}

// What the executor finds.
inline Observation Observe(const World& w) {
  Observation o;
  if (w.silent != 0) return o;
  const auto add_record = [&] {
    if (w.record == 0) return;
    internal::WorkerExitRecord& record = o.worker_exit.emplace();
    record.set_end(static_cast<Attempt::End>(w.record));
    record.set_last_step(w.step);
    if (w.record != Attempt::FAILED) return;
    record.mutable_error()->set_code("E");
    record.mutable_error()->set_retryable(w.permanent == 0);
  };
  switch (w.process) {
    case kSpawned:
      o.kind = Kind::kPending;
      break;
    case kRunning:
      o.kind = Kind::kRunning;
      break;
    case kExited:
      o.kind = Kind::kExited;
      o.exit.emplace().set_signal(w.signalled);
      o.exit->set_killed_by_escalation(w.escalated != 0);
      add_record();
      break;
    case kGone:
      o.kind = Kind::kGone;
      add_record();
      break;
    default:
      o.kind = w.fenced != 0 ? Kind::kExited : Kind::kGone;
      o.never_started = w.fenced == 0;
      if (w.fenced != 0) o.exit.emplace().set_spawn_error("fenced");
  }
  return o;
}

// How severe the end is that was requested of an attempt.
inline int Severity(const World& w) {
  if (StateOf(w) == Job::PAUSING) return 1;
  return StateOf(w) == Job::STOPPING ? w.desired : 0;
}

inline std::string Describe(const World& w) {
  std::string text = StateName(StateOf(w));
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, int>>{{"desired", w.desired},
                                                          {"wait", w.wait},
                                                          {"attempt", w.attempt},
                                                          {"open", w.open},
                                                          {"checkpoint", w.checkpoint},
                                                          {"saved", w.saved},
                                                          {"final", w.final_model},
                                                          {"failures", w.failures},
                                                          {"process", w.process},
                                                          {"record", w.record},
                                                          {"step", w.step},
                                                          {"action", w.action},
                                                          {"up", w.up},
                                                          {"tracked", w.tracked},
                                                          {"requeue", w.requeue},
                                                          {"rival", w.rival},
                                                          {"upstream", w.upstream},
                                                          {"blamed", w.blamed}})
    text.append(" ").append(name).append("=").append(std::to_string(value));
  return text;
}

// Which of T1 to T11 the world, or the step to it, violates; empty: none. T9 and T10 are in the
// steps themselves.
inline std::string Violation(const World& before, const World& after) {
  const Job::State state = StateOf(after);
  if (IsTerminal(StateOf(before)) && state != StateOf(before)) return "T1: it had ended";
  const bool same = before.open != 0 && after.open != 0 && before.attempt == after.attempt;
  if (same && Severity(after) < Severity(before)) return "T2: it becomes milder";
  if (same && after.action < before.action) return "T2: the worker hears a milder request";
  if (state != StateOf(before) && !IsTransitionAllowed(StateOf(before), state))
    return "T3: the state table has no such transition";
  if (IsLive(after) && after.open == 0) return "T4: a process without an open attempt";
  if (before.attempt != after.attempt && IsLive(before)) return "T4: two attempts live";
  if (state == Job::PAUSED && (after.checkpoint == 0 || after.saved < after.checkpoint))
    return "T5: nothing to resume from";
  if (state == Job::PAUSED && (IsLive(after) || after.open != 0)) return "T5: it is not idle";
  if (state == Job::STOPPED && (after.checkpoint == 0 || after.saved < after.checkpoint))
    return "T6: its checkpoint is not on disk";
  if (state == Job::SUCCEEDED && after.final_model != 1) return "T11: its model is not good";
  if (after.failures > after.blamed) return "T8: something fair was counted";
  if (state != Job::FAILED && after.failures >= kMaxFailures) return "T8: it should have ended";
  if (after.acknowledged != 0 && after.stored == 0) return "T9: it was acknowledged and is lost";
  if (after.stored != 0 && IsActive(state) != (after.open != 0))
    return "the state does not say that an attempt is open";
  if ((state == Job::QUEUED) != (after.wait != 0)) return "only queued jobs wait";
  return "";
}

}  // namespace trainerd::server::model
