// What the scenarios are played against: play.js has it as JSON, {urls: {name: URL of a daemon}, key, names of the
// scenarios to play, openai: the folder of OpenAI's client, folder: for screenshots, or null}. test_browser.py says
// which daemon is which.
"use strict";
module.exports = JSON.parse(process.argv[2]);
