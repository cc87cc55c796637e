// SPDX-License-Identifier: Apache-2.0
#include "server/store/steady_clock.h"

#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

// Rows of meta: the boot to which the offset (microseconds) belongs.
constexpr char kBootKey[] = "steady_clock_boot";
constexpr char kOffsetKey[] = "steady_clock_offset";

}  // namespace

absl::StatusOr<SteadyClock> SteadyClock::Open(Connection& db, const std::string& boot_id,
                                              absl::Time system_now) {
  {
    Query query(db,
                "SELECT o.value FROM meta AS b, meta AS o WHERE b.key = ? AND b.value = ? AND "
                "o.key = ?");
    const bool known = query.Bind(kBootKey).Bind(boot_id).Bind(kOffsetKey).Step();
    RETURN_IF_ERROR(query.status());
    if (known) return SteadyClock(absl::Microseconds(query.Int(0)));
  }
  const int64_t offset = absl::ToInt64Microseconds(system_now - trainerd::SteadyNow());
  Query query(db, "INSERT OR REPLACE INTO meta VALUES (?, ?), (?, ?)");
  const absl::Status stored =
      query.Bind(kBootKey).Bind(boot_id).Bind(kOffsetKey).Bind(offset).Run();
  // The daemon also starts on a full disk; the next start stores its own.
  if (!stored.ok() && !absl::IsResourceExhausted(stored)) return stored;
  return SteadyClock(absl::Microseconds(offset));
}

absl::Time SteadyClock::Now() const { return trainerd::SteadyNow() + offset_; }

}  // namespace trainerd::server
