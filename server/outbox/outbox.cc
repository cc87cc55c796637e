// SPDX-License-Identifier: Apache-2.0
#include "server/outbox/outbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job_file/output_json.h"
#include "server/outbox/delivery_schedule.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/notification_rows.h"

namespace trainerd::server {
namespace {

// Most events need not be parsed. Of the state changes only the end of a job counts.
bool MayHaveMeaning(const EventRecord& record) {
  switch (record.type) {
    case v1::Event::kStateChanged:
      return (record.flags & kJobEnded) != 0;
    case v1::Event::kConditionChanged:
    case v1::Event::kAlert:
    case v1::Event::kRemoteEval:
    case v1::Event::kCheckpoint:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string NotificationBody(v1::NotifyEvent meaning, const v1::Event& event, v1::Job job) {
  job.clear_config();
  const nlohmann::ordered_json event_json = OutputJson(event);
  nlohmann::ordered_json body;
  body["type"] = absl::StrCat("job.", EnumText(*v1::NotifyEvent_descriptor(), meaning));
  body["timestamp"] = event_json.value("time", "");
  body["data"]["job"] = OutputJson(job);
  body["data"]["event"] = event_json;
  return JsonText(body, /*pretty=*/false);
}

absl::StatusOr<std::unique_ptr<Outbox>> Outbox::Create(const NotifyTargets& targets) {
  Fd wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_fd.is_open()) return ErrnoStatus(errno, "create an eventfd");
  return std::unique_ptr<Outbox>(new Outbox(targets, std::move(wake_fd)));
}

absl::Status Outbox::Write(Transaction& transaction, const std::vector<EventRecord>& events) {
  if (targets_.empty()) return absl::OkStatus();
  for (const EventRecord& record : events) {
    v1::Event event;
    if (!MayHaveMeaning(record) || !event.ParseFromString(*record.bytes)) continue;
    const std::vector<v1::NotifyEvent> meanings = MeaningsOf(event);
    if (meanings.empty()) continue;
    const absl::StatusOr<JobRecord> job = LoadJob(transaction.db(), JobId(record.job));
    if (absl::IsNotFound(job.status())) continue;  // it is being deleted
    RETURN_IF_ERROR(job.status());
    for (const Recipient& recipient : targets_.RecipientsOf(job->job, meanings)) {
      RETURN_IF_ERROR(InsertNotification(
          transaction.db(), {.target = recipient.target,
                             .url = recipient.url,
                             .event = recipient.event,
                             .job = record.job,
                             .event_seq = record.seq,
                             .create_time = transaction.now(),
                             .due = transaction.steady_now(),
                             .retry_until = transaction.steady_now() + kRetryFor,
                             .body = NotificationBody(recipient.event, event, job->job)}));
      written_ = true;
    }
  }
  return absl::OkStatus();
}

void Outbox::OnCommit() {
  if (written_) Wake();
  written_ = false;
}

void Outbox::Wake() {
  const uint64_t one = 1;
  // It fails only while very many wake-ups are pending.
  (void)!::write(wake_fd_.get(), &one, sizeof(one));
}

void Outbox::ClearWake() {
  uint64_t wakes = 0;
  (void)!::read(wake_fd_.get(), &wakes, sizeof(wakes));
}

}  // namespace trainerd::server
