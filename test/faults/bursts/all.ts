import type { Burst } from '../burst.ts';
import { brokerKill, brokerRestart, brokerStall } from './broker.ts';
import { leaderMoved, oneBrokerKilled, oneBrokerSlow, topicDeleted } from './brokers.ts';
import { bigTransactions, connectKill, deletes } from './capture.ts';
import { connectorDown, postgresRestart, slotLost, taskFailed } from './connector.ts';
import { deadLettersRefused, hostileOrder, incompatibleSchema, poison } from './input.ts';
import { rebalanceStorm, zombie } from './members.ts';
import { offsetsExpired } from './offsets.ts';
import { columns, untouched } from './rows.ts';
import { snapshotKilled } from './snapshot.ts';
import { localState } from './state.ts';
import { answerLost, endInUpload, killInUpload, storeDisturbed } from './store.ts';
import { brokerDiskFull, clockSkew, registryDown } from './surroundings.ts';
import {
  commitAnswerDelayed,
  killBeforeOffsets,
  killInCommit,
  killInTransaction,
  transactionTimeout,
} from './transactions.ts';

/** Every burst, in the order of its fault. */
export const bursts: readonly Burst[] = [
  brokerRestart,
  brokerKill,
  brokerStall,
  brokerDiskFull,
  killInTransaction,
  killBeforeOffsets,
  killInCommit,
  zombie,
  commitAnswerDelayed,
  transactionTimeout,
  rebalanceStorm,
  localState,
  connectKill,
  taskFailed,
  postgresRestart,
  slotLost,
  connectorDown,
  snapshotKilled,
  registryDown,
  incompatibleSchema,
  columns,
  deletes,
  untouched,
  bigTransactions,
  hostileOrder,
  clockSkew,
  poison,
  deadLettersRefused,
  storeDisturbed,
  killInUpload,
  answerLost,
  endInUpload,
  offsetsExpired,
  leaderMoved,
  oneBrokerKilled,
  oneBrokerSlow,
  topicDeleted,
];
