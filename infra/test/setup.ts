/** Runs before each file of tests, which a module that files share does only before the first. */
import { afterAll } from 'vitest';
import { removeFolders } from './made.js';

afterAll(removeFolders);
