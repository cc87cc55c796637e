-- SPDX-License-Identifier: Apache-2.0
-- Lists are searched in memory: store/job_index.h reads these columns. No search by the value of a label is left in the database.
DROP INDEX jobs_listed;
CREATE INDEX jobs_listed ON jobs (number, state, create_time, end_time, priority, name, owner);
DROP INDEX job_labels_by_value;
