/**
 * What a participant gets in each slot and why, and what it sends.
 *
 * Owns: the words for it.
 * Never: asks for it.
 */
import type { SlotExplanation, Source, TrackExplanation } from '@convoke/client';
import { h } from '../dom.js';
import { layerName, rate, size } from '../statsText.js';
import { layerReason } from '../words.js';
import type { LiveParticipant } from './api.js';

/** Elements that say it. */
export function reception(
  { explanation, tracks }: LiveParticipant,
  names: ReadonlyMap<string, string>,
): HTMLElement[] {
  if (explanation === undefined) return [h('p', {}, 'Nothing is known: it is just leaving.')];
  const held = explanation.slots.filter((slot) => slot.trackId !== undefined);
  const estimate =
    explanation.estimate === undefined ? 'not estimated' : rate(explanation.estimate);
  const path = `Path: ${estimate}, video takes ${rate(explanation.allocated)}, wanted ${rate(explanation.desired)}`;
  return [
    h('p', { class: 'admin-soft' }, path),
    ...(held.length === 0 ? [h('p', {}, 'No slot is in use.')] : []),
    ...held.map((slot) => h('p', { 'data-testid': 'admin-slot' }, slotText(slot, names))),
    ...explanation.tracks.map((track) => {
      const source = tracks.find(({ trackId }) => trackId === track.trackId)?.source;
      return h('p', { 'data-testid': 'admin-track' }, sent(track, source));
    }),
  ];
}

/** One slot in a line. */
export function slotText(slot: SlotExplanation, names: ReadonlyMap<string, string>): string {
  const from = names.get(slot.participantId ?? '') ?? slot.participantId ?? '?';
  const picture = [slot.layer && layerName(slot.layer), size(slot)].filter(Boolean).join(' ');
  const why = slot.reason === undefined ? '' : ` (${layerReason(slot.reason)})`;
  const parts = [
    `${slot.state}${picture === '' ? '' : ` ${picture}`}${why}`,
    ...(slot.bitrate > 0 ? [rate(slot.bitrate)] : []),
  ];
  return `Slot ${slot.mid} ← ${from}: ${parts.join(', ')}`;
}

function sent(track: TrackExplanation, source: Source | undefined): string {
  const flowing = track.encodings
    .filter((encoding) => encoding.flowing)
    .map((one) => [one.rid, size(one), rate(one.bitrate)].filter(Boolean).join(' '));
  const sends = `Sends ${source ?? track.clientId}: ${flowing.join('; ') || 'nothing now'}`;
  if (source !== 'camera' && source !== 'screen') return sends;
  return `${sends}, ${track.wanted === undefined ? 'nobody wants it' : `wanted ${layerName(track.wanted)}`}`;
}
