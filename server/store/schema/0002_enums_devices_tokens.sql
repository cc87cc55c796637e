-- SPDX-License-Identifier: Apache-2.0
-- Words of a job file become enums, `device` becomes a list, and the tokens of a checkpoint move from its job's ledger into its own message. The functions are those of
-- store/message_functions.h.
UPDATE checkpoints SET checkpoint = checkpoint_with_tokens(checkpoint, id, (SELECT ledger FROM jobs WHERE jobs.id = checkpoints.job));
UPDATE jobs SET job = upgraded('trainerd.v1.Job', job), ledger = ledger_without_tokens(ledger);
UPDATE attempts SET attempt = upgraded('trainerd.v1.Attempt', attempt);
-- Of the events only these hold such a message; 15 is Event.attempt_event.
UPDATE events SET event = upgraded('trainerd.v1.Event', event) WHERE type = 15;
-- The hash of a submitted job covers its serialized form, which no client can send any more. An empty hash matches every request of the same method.
UPDATE idempotency SET body_hash = x'' WHERE method = 'SubmitJob';
UPDATE idempotency SET response = upgraded(CASE method WHEN 'SubmitJob' THEN 'trainerd.v1.SubmitJobResponse' ELSE 'trainerd.v1.Job' END, response);
