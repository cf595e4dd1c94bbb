/**
 * The person's own camera, shared by the preview and the call.
 *
 * Owns: which camera and quality are wanted, and the stream made from them.
 * Never: publishes.
 */
import { type DeviceManager, LocalVideoStream } from '@convoke/client';
import { preferences } from './preferences.js';

const HIGH = { width: 1280, height: 720, frameRate: 30 };

/** A stream of the chosen camera; not opened yet. */
export async function chosenCamera(devices: DeviceManager): Promise<LocalVideoStream> {
  const cameras = await devices.getCameras();
  const camera = cameras.find((device) => device.id === preferences.camera) ??
    cameras[0] ?? { id: '', name: '' };
  return new LocalVideoStream(camera, preferences.quality === 'high' ? { quality: HIGH } : {});
}
