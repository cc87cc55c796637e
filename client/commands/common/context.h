// SPDX-License-Identifier: Apache-2.0
// What every command receives: its environment and the options that all commands share.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/net/address.h"
#include "client/net/connection.h"
#include "client/view/environment.h"
#include "client/view/output.h"

namespace trainerd::client {

struct Context {
  const Environment& env;
  AddressChoice address;
  OutputForm form = OutputForm::kTable;

  std::ostream& out() const { return *env.out; }
  std::ostream& err() const { return *env.err; }
  // Whether to print remarks that are neither data nor errors: only to a person at a terminal.
  bool talks() const { return env.out_is_terminal && IsForPeople(form); }
  int table_columns() const {
    return env.out_is_terminal && form == OutputForm::kTable ? env.terminal_size().columns : 0;
  }

  absl::StatusOr<std::unique_ptr<Connection>> Connect() const {
    absl::StatusOr<Address> where = ResolveAddress(address, env);
    if (!where.ok()) return where.status();
    return Connection::Open(*where);
  }
};

}  // namespace trainerd::client
