/**
 * The person's own camera, shared by the preview and the call.
 *
 * Owns: which camera and quality are wanted, and the stream made from them.
 * Never: publishes.
 */
import { type DeviceManager, LocalVideoStream } from '@convoke/client';
import { preferences } from './preferences.js';

const LOW = { width: 640, height: 360, frameRate: 30 };

/** A stream of the chosen camera; not opened yet. */
export async function chosenCamera(devices: DeviceManager): Promise<LocalVideoStream> {
  const cameras = await devices.getCameras();
  const camera = cameras.find((device) => device.id === preferences.camera) ??
    cameras[0] ?? { id: '', name: '' };
  return new LocalVideoStream(camera, preferences.quality === 'low' ? { quality: LOW } : {});
}
