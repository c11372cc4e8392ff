/** The shapes of the API, as its OpenAPI document gives them. */
import type { components } from '$api';

type Schemas = components['schemas'];

export type FleetEvent = Schemas['Event'];
export type Task = Schemas['TaskView'];
export type TaskItem = Schemas['TaskItem'];
export type TaskPage = Schemas['TaskPage'];
export type TaskDraft = Schemas['TaskDraft'];
export type Agent = Schemas['AgentView'];
export type QueueStats = Schemas['QueueStats'];
export type LogPage = Schemas['LogPage'];
export type Costs = Schemas['Costs'];
export type CostItem = Schemas['CostItem'];
export type Whoami = Schemas['Whoami'];
export type User = Schemas['UserView'];
export type Token = Schemas['TokenView'];
export type Autoscaler = Schemas['Autoscaler'];
export type Decision = Schemas['DecisionView'];
export type PoolScale = Schemas['PoolView'];
export type Series = Schemas['Series'];
export type PoolPreview = Schemas['Preview'];
export type LineComment = Schemas['LineComment'];
export type ChatMessage = Schemas['ChatMessage'];
export type Confirmation = Schemas['Confirmation'];
export type Conversation = Schemas['Conversation'];
export type Reply = Schemas['Reply'];
export type Kind = Schemas['ProfileView'];
export type Provider = Schemas['ProviderView'];
export type State = TaskItem['state'];
export type Subscription = Schemas['Subscription'];
export type NoteKind = Subscription['kinds'][number];
export type Access = Whoami['access'];

export const STATES: readonly State[] = [
  'waiting',
  'queued',
  'running',
  'blocked',
  'review',
  'done',
  'failed',
  'cancelled',
];
