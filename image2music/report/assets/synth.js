"use strict";
// Plays notes with oscillators alone, so that no sample is ever loaded.
const Synth = (() => {
  // By General MIDI family of eight programs: wave, attack, decay per second (0 holds), release, loudness.
  const PLUCKED = ["triangle", 0.004, 2.2, 0.15, 0.9];
  const HELD = ["sine", 0.02, 0, 0.08, 0.6];
  const BOWED = ["sawtooth", 0.07, 0.1, 0.15, 0.35];
  const BLOWN = ["square", 0.03, 0.2, 0.1, 0.25];
  const PIPE = ["sine", 0.04, 0.1, 0.1, 0.8];
  const FAMILIES = [PLUCKED, PLUCKED, HELD, PLUCKED, PLUCKED, BOWED, BOWED, BLOWN, BLOWN, PIPE];
  const HARP = 46, PIZZICATO = 45;

  function timbre(program) {
    if (program === HARP || program === PIZZICATO) return PLUCKED;
    return FAMILIES[program >> 3] || HELD;
  }

  function noise(context) {
    const buffer = context.createBuffer(1, context.sampleRate / 4, context.sampleRate);
    const samples = buffer.getChannelData(0);
    let state = 1;
    for (let i = 0; i < samples.length; i++) {
      state = (state * 16807) % 2147483647;
      samples[i] = state / 1073741823 - 1;
    }
    return buffer;
  }

  function drum(context, out, when, pitch, loudness) {
    const source = context.createBufferSource();
    source.buffer = out.noise || (out.noise = noise(context));
    const filter = context.createBiquadFilter();
    filter.type = pitch < 41 ? "lowpass" : "highpass";
    filter.frequency.value = pitch < 37 ? 150 : pitch < 41 ? 1800 : 5000;
    const gain = context.createGain();
    gain.gain.setValueAtTime(loudness, when);
    gain.gain.exponentialRampToValueAtTime(0.001, when + 0.18);
    source.connect(filter).connect(gain).connect(out.node);
    source.start(when);
    source.stop(when + 0.2);
    return source;
  }

  function note(context, out, track, when, duration, pitch, velocity) {
    const loudness = 0.16 * (velocity / 127);
    if (track.is_drum) return drum(context, out, when, pitch, loudness);
    const [wave, attack, decay, release, level] = timbre(track.program);
    const source = context.createOscillator();
    source.type = wave;
    source.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
    const filter = context.createBiquadFilter();
    filter.type = "lowpass";
    filter.frequency.value = Math.min(8000, source.frequency.value * 5);
    const gain = context.createGain();
    const top = loudness * level, end = when + duration;
    gain.gain.setValueAtTime(0.0001, when);
    gain.gain.linearRampToValueAtTime(top, when + Math.min(attack, duration / 2));
    gain.gain.exponentialRampToValueAtTime(Math.max(0.0002, top * Math.exp(-decay * duration)), Math.max(end, when + attack + 0.001));
    gain.gain.linearRampToValueAtTime(0, end + release);
    source.connect(filter).connect(gain).connect(out.node);
    source.start(when);
    source.stop(end + release + 0.02);
    return source;
  }

  // A small room: noise that dies away, the same in both ears of every listener.
  const ROOM_SECONDS = 1.4, ROOM_LOUDNESS = 0.18;
  function room(context) {
    const length = Math.round(context.sampleRate * ROOM_SECONDS);
    const buffer = context.createBuffer(1, length, context.sampleRate);
    const samples = buffer.getChannelData(0);
    let state = 7;
    for (let i = 0; i < length; i++) {
      state = (state * 16807) % 2147483647;
      samples[i] = (state / 1073741823 - 1) * Math.exp(-5 * i / length);
    }
    const convolver = context.createConvolver();
    convolver.buffer = buffer;
    return convolver;
  }

  function output(context) {
    const limiter = context.createDynamicsCompressor();
    const node = context.createGain();
    const echo = context.createGain();
    echo.gain.value = ROOM_LOUDNESS;
    node.connect(limiter);
    node.connect(room(context)).connect(echo).connect(limiter);
    limiter.connect(context.destination);
    return { node, noise: null };
  }

  const flat = (playback) => playback.tracks
    .flatMap((track) => track.notes.map(([start, duration, pitch, velocity]) => ({ track, start, duration, pitch, velocity })))
    .sort((a, b) => a.start - b.start);

  class Player {
    constructor(playback) {
      this.notes = flat(playback);
      this.seconds = playback.seconds;
      this.at = 0;
      this.timer = 0;
      this.sounding = [];
    }
    get playing() { return this.timer !== 0; }
    get position() {
      return this.playing ? Math.max(0, Math.min(this.seconds, this.context.currentTime - this.origin)) : this.at;
    }
    play() {
      if (this.at >= this.seconds) this.at = 0;
      this.context = this.context || new AudioContext();
      this.context.resume();
      this.out = this.out || output(this.context);
      this.origin = this.context.currentTime + 0.08 - this.at;
      this.next = this.notes.findIndex((note) => note.start >= this.at - 0.01);
      if (this.next < 0) this.next = this.notes.length;
      // Notes are handed over half a second ahead: a busy page must not make the music stumble.
      this.timer = setInterval(() => this.ahead(), 100);
      this.ahead();
    }
    ahead() {
      const until = this.context.currentTime - this.origin + 0.5;
      while (this.next < this.notes.length && this.notes[this.next].start < until) {
        const n = this.notes[this.next++];
        const source = note(this.context, this.out, n.track, this.origin + n.start, n.duration, n.pitch, n.velocity);
        this.sounding.push(source);
        source.onended = () => this.sounding.splice(this.sounding.indexOf(source) >>> 0, 1);
      }
      if (this.position >= this.seconds) this.stop(this.seconds);
    }
    stop(at) {
      this.at = at === undefined ? this.position : at;
      clearInterval(this.timer);
      this.timer = 0;
      for (const source of [...this.sounding]) source.stop();
    }
    seek(seconds) {
      const again = this.playing;
      if (again) this.stop();
      this.at = seconds;
      if (again) this.play();
    }
  }

  // Plays a sound file; where it cannot be played, `lost` is called with the position.
  class Recording {
    constructor(audio, seconds, lost) {
      this.audio = audio;
      this.seconds = seconds;
      const fail = () => { if (!this.failed) { this.failed = true; lost(this.position); } };
      this.fail = fail;
      audio.addEventListener("error", fail);
    }
    get playing() { return !this.failed && !this.audio.paused && !this.audio.ended; }
    get position() { return Math.min(this.seconds, this.audio.currentTime); }
    play() {
      if (this.audio.ended || this.position >= this.seconds) this.audio.currentTime = 0;
      this.audio.play().catch((reason) => { if (reason.name !== "AbortError") this.fail(); });
    }
    stop() { this.audio.pause(); }
    seek(seconds) { this.audio.currentTime = seconds; }
  }

  async function wav(playback) {
    const rate = 44100;
    const context = new OfflineAudioContext(1, Math.ceil((playback.seconds + ROOM_SECONDS) * rate), rate);
    const out = output(context);
    for (const n of flat(playback)) note(context, out, n.track, n.start, n.duration, n.pitch, n.velocity);
    return encode((await context.startRendering()).getChannelData(0), rate);
  }

  function encode(samples, rate) {
    const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
    const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"); view.setUint32(4, 36 + samples.length * 2, true); text(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2, true);
    view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, samples.length * 2, true);
    samples.forEach((sample, i) => view.setInt16(44 + i * 2, Math.max(-1, Math.min(1, sample)) * 32767, true));
    return new Blob([view], { type: "audio/wav" });
  }

  return { Player, Recording, wav };
})();
