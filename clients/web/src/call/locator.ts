/**
 * What can be joined.
 *
 * Owns: how an app names it.
 */

/** Which group call to join: a GUID in any usual spelling. */
export interface GroupLocator {
  readonly groupId: string;
}

/** Which scheduled room to join. */
export interface RoomLocator {
  readonly roomId: string;
}

export type Locator = GroupLocator | RoomLocator;
