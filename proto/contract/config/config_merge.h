// SPDX-License-Identifier: Apache-2.0
// The configuration of a job that starts from another one.
#pragma once

#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// `base`, a resolved configuration, with what `changes` gives. A list replaces the list of the
// base. A key of the base is removed where a given key excludes it: keys of another optimizer.type,
// train.max_steps beside a given train.epochs, data.validation beside a given
// data.validation_fraction and the reverse. output.path is removed, because an output folder
// belongs to one job.
v1::JobConfig MergeJobConfig(v1::JobConfig base, const v1::JobConfig& changes);

}  // namespace trainerd
