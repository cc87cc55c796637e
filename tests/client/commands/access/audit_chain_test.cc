// SPDX-License-Identifier: Apache-2.0
#include "client/commands/access/audit_chain.h"

#include "gtest/gtest.h"
#include "proto/contract/job/audit_hash.h"

namespace trainerd::client {
namespace {

// Entries FIRST … LAST of one chain.
v1::ListAuditEntriesResponse Chain(int64_t first, int64_t last) {
  v1::ListAuditEntriesResponse page;
  std::string hash = AuditChainStart();
  for (int64_t seq = 1; seq <= last; ++seq) {
    v1::AuditEntry entry;
    entry.set_seq(seq);
    entry.set_principal("p");
    entry.set_resource("jobs/a");
    if (seq == first) page.set_start_hash(hash);
    hash = AuditHash(hash, entry);
    entry.set_hash(hash);
    if (seq >= first) *page.add_entries() = entry;
  }
  return page;
}

// A page of the entries from `from` on.
v1::ListAuditEntriesResponse Rest(const v1::ListAuditEntriesResponse& all, int from) {
  v1::ListAuditEntriesResponse page = all;
  page.mutable_entries()->DeleteSubrange(0, from);
  return page;
}

TEST(AuditChainTest, TakesAWholeChainInPages) {
  for (const int64_t first : {1, 4}) {
    const v1::ListAuditEntriesResponse all = Chain(first, 9);
    v1::ListAuditEntriesResponse head = all;
    head.mutable_entries()->DeleteSubrange(3, head.entries_size() - 3);
    AuditChain chain;
    EXPECT_EQ(chain.Add(head).bad_seq, 0);
    EXPECT_EQ(chain.Add(Rest(all, 3)).bad_seq, 0);
    EXPECT_EQ(chain.last_seq(), 9);
    EXPECT_EQ(chain.count(), 10 - first);
    EXPECT_EQ(chain.last_hash(), all.entries(all.entries_size() - 1).hash());
  }
}

TEST(AuditChainTest, FindsTheFirstEntryThatDoesNotFit) {
  const auto bad = [](const std::function<void(v1::ListAuditEntriesResponse*)>& change) {
    v1::ListAuditEntriesResponse page = Chain(1, 9);
    change(&page);
    return AuditChain().Add(page).bad_seq;
  };
  EXPECT_EQ(bad([](auto* page) { page->mutable_entries(4)->set_principal("q"); }), 5);
  EXPECT_EQ(bad([](auto* page) { page->mutable_entries(4)->set_code(7); }), 5);
  EXPECT_EQ(bad([](auto* page) { page->mutable_entries(4)->mutable_hash()->at(3) ^= 1; }), 5);
  EXPECT_EQ(bad([](auto* page) { page->mutable_entries()->DeleteSubrange(4, 1); }), 6);
  EXPECT_EQ(bad([](auto* page) { page->mutable_entries()->DeleteSubrange(0, 1); }), 2);
  EXPECT_EQ(bad([](auto* page) { page->mutable_entries()->SwapElements(2, 3); }), 4);
}

TEST(AuditChainTest, ContinuesWhereEntriesExpireMeanwhile) {
  v1::ListAuditEntriesResponse head = Chain(1, 3);
  AuditChain chain;
  EXPECT_EQ(chain.Add(head).bad_seq, 0);
  // Entries 4 to 6 expired before the second page was read.
  EXPECT_EQ(chain.Add(Chain(7, 9)).bad_seq, 0);
  EXPECT_EQ(chain.last_seq(), 9);
}

}  // namespace
}  // namespace trainerd::client
